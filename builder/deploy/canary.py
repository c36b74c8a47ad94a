"""Two images behind one name: what runs stays as it is, and a small Deployment of the other one joins it.

Without a Gateway the Service sends to all pods alike, so the share is that of the pods; with one, its weights decide.
Either way what runs is not touched, and taking the second Deployment away is the way back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from builder.deploy.documents import Document, because
from builder.deploy.kubernetes import deployment, kubernetes_documents
from builder.deploy.served import Served
from builder.deploy.traffic import route, service
from builder.deploy.wanted import CANARY, STABLE, Wanted
from builder.errors import UsageError


class SameImageTwice(UsageError):
    code = "same-image-twice"
    message = "the image to try and the one that runs (--from) are both {image}"
    hint = "name the image that runs now with --from, and the new one first"


def canary_documents(stable: Served, canary: Served, wanted: Wanted, percent: int) -> Iterator[Document]:
    """``percent`` of the requests, 1 to 99, go to ``canary``; both have its name. Raises SameImageTwice."""
    stable = replace(stable, name=canary.name)
    if stable.image.digest == canary.image.digest:
        raise SameImageTwice(image=canary.image)
    weighted = bool(wanted.reach.gateway)
    named = {STABLE: f"{stable.name}-{STABLE}", CANARY: f"{stable.name}-{CANARY}"}
    for document in kubernetes_documents(stable, wanted):
        if document["kind"] == "HTTPRoute":
            yield service(stable, wanted, STABLE)
            yield service(canary, wanted, CANARY)
            yield route(stable, wanted, {named[STABLE]: 100 - percent, named[CANARY]: percent})
        else:
            yield document
    yield deployment(canary, wanted, replicas=_pods(wanted.replicas, percent, weighted), track=CANARY)


def _pods(others: int, percent: int, weighted: bool) -> int:
    """How many pods carry the share beside ``others``."""
    if weighted:
        return max(1, math.ceil(others * percent / 100))
    count = max(1, round(others * percent / (100 - percent)))
    share = round(100 * count / (others + count))
    reason = f"{share} % of the requests: {count} of {others + count} pods"
    if share != percent:
        reason += "; --gateway, or more --replicas, comes closer"
    return because(count, reason)
