"""An image on Kubernetes: Deployment, Service and what belongs to them, as values.

Labels: ``app.kubernetes.io/name`` selects all pods of a name, ``mbuild.dev/track`` (stable, canary) those of one
Deployment. A Deployment's selector never changes, so it has both from the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from builder.deploy.documents import Document
from builder.deploy.pod import PodOptions, pod_spec, spread
from builder.deploy.served import Served
from builder.deploy.sizing import Sizing

NAME, VERSION, MANAGED = "app.kubernetes.io/name", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"
TRACK = "mbuild.dev/track"
STABLE = "stable"

_LEAST_DEADLINE = 600
_MOST_LABEL = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What whoever deploys decides. ``replicas`` is how many there are at least, ``most`` how many at most."""

    namespace: str = ""
    replicas: int = 2
    most: int = 2
    pod: PodOptions = field(default_factory=PodOptions)


def kubernetes_documents(served: Served, sizing: Sizing, wanted: Wanted) -> Iterator[Document]:
    yield service_account(served, wanted)
    yield deployment(served, sizing, wanted)
    yield service(served, wanted)


def service_account(served: Served, wanted: Wanted) -> Document:
    """One of its own, without a token: the server never speaks to Kubernetes."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(served, wanted),
        "automountServiceAccountToken": False,
    }


def deployment(served: Served, sizing: Sizing, wanted: Wanted, track: str = STABLE) -> Document:
    selector = {NAME: served.name, TRACK: track}
    pod = {
        "serviceAccountName": served.name,
        **pod_spec(served, sizing, wanted.pod),
        "topologySpreadConstraints": spread(selector),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**metadata(served, wanted, track=track), "annotations": told(served)},
        "spec": {
            "replicas": wanted.replicas,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _strategy(served, wanted)},
            "progressDeadlineSeconds": max(_LEAST_DEADLINE, 2 * sizing.start.seconds),
            "template": {
                "metadata": {"labels": {**labels(served), TRACK: track}, "annotations": told(served)},
                "spec": pod,
            },
        },
    }


def service(served: Served, wanted: Wanted) -> Document:
    ports = [
        {
            "name": name,
            "port": port,
            "targetPort": name,
            "appProtocol": "kubernetes.io/h2c" if name == "grpc" else "http",
        }
        for name, port in served.ports.named
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(served, wanted),
        "spec": {"selector": {NAME: served.name}, "ports": ports},
    }


def metadata(served: Served, wanted: Wanted, *, track: str = STABLE) -> dict[str, Any]:
    """Of a document of its own; ``track`` other than stable is a part of its name."""
    name = served.name if track == STABLE else f"{served.name}-{track}"
    space = {"namespace": wanted.namespace} if wanted.namespace else {}
    return {"name": name, **space, "labels": labels(served)}


def labels(served: Served) -> dict[str, str]:
    version = re.sub(r"[^A-Za-z0-9._-]+", "-", served.face.version)[:_MOST_LABEL].strip("-._")
    return {NAME: served.name, **({VERSION: version} if version else {}), MANAGED: "mbuild"}


def told(served: Served) -> dict[str, str]:
    """The face in words that ``kubectl describe`` shows."""
    face = served.face
    models = ", ".join(f"{model.name} {model.version}".strip() for model in face.models)
    return {
        "mbuild.dev/image": str(served.image),
        "mbuild.dev/models": models,
        "mbuild.dev/target": f"{face.server} for {face.target}",
        "mbuild.dev/lock": face.lock_digest,
    }


def _strategy(served: Served, wanted: Wanted) -> dict[str, Any]:
    """A new pod first; of several on GPUs one less instead, since a spare GPU may never come."""
    if served.on_gpu and wanted.replicas > 1:
        return {"maxUnavailable": 1, "maxSurge": 0}
    return {"maxUnavailable": 0, "maxSurge": 1}
