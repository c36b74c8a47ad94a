"""Holds documents against the schemas of Kubernetes and of the custom resources before anybody is given them.

The schemas are those of Kubernetes' OpenAPI without what mbuild never writes (scripts/kubernetes-schemas), strict: an
unknown key is an error. They hold shapes and types; what a cluster itself refuses besides, it alone can tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from builder.deploy.documents import Document
from builder.errors import MbuildError, UsageError
from builder.resources import data_file

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

BUNDLED = ("1.33", "1.36")
"""Oldest first. A version between two is held to the older one."""

_IMAGE_VOLUMES = "1.35"
_PREDICTOR, _POD = "kserve.Predictor", "io.k8s.api.core.v1.PodSpec"
_MOST_TOLD = 5


class UnknownKubernetes(UsageError):
    code = "unknown-kubernetes"
    message = "--kubernetes is {given!r}; what is written is held against the schemas of {known}"
    hint = "name the cluster's version as in --kubernetes 1.36, {oldest} or later"


class NoImageVolumes(UsageError):
    code = "no-image-volumes"
    message = "Kubernetes {given} has no image volumes to mount weights from; they are there from {least} on"
    hint = "leave --weights-volume out, and the whole image is run, models and all"


class DocumentRefused(MbuildError):
    """A bug of ours: no option lets anybody write a document that is not one."""

    code = "document-refused"
    message = "Kubernetes {version} does not take the {document}:\n{problems}"
    hint = "nothing was written; this is a bug of mbuild, please report it with the command"


def versions_for(asked: str) -> tuple[str, ...]:
    """The bundled schema that holds for a version of Kubernetes; without any, all. Raises UnknownKubernetes."""
    if not asked:
        return BUNDLED
    fitting = [each for each in BUNDLED if _key(each) <= _key(asked)]
    if not fitting:
        raise UnknownKubernetes(given=asked, known=" and ".join(BUNDLED), oldest=BUNDLED[0])
    return (fitting[-1],)


def _key(version: str) -> tuple[int, int]:
    """(0, 0) of what is none: older than all."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.\d+)?", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def require_image_volumes(asked: str) -> str:
    """The version whose schema holds for a document with one: image volumes are on from 1.35 on, and stable in 1.36
    (KEP-4639). Raises NoImageVolumes."""
    if asked and _key(asked) < _key(_IMAGE_VOLUMES):
        raise NoImageVolumes(given=asked, least=_IMAGE_VOLUMES)
    return max(asked or BUNDLED[-1], BUNDLED[-1], key=_key)


def require_valid(documents: Iterable[Document], asked: str = "") -> tuple[Document, ...]:
    """The documents themselves. Raises UnknownKubernetes, DocumentRefused."""
    versions, whole = versions_for(asked), tuple(documents)
    for version in versions:
        for document in whole:
            if problems := [*_problems(document, version)][:_MOST_TOLD]:
                name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
                raise DocumentRefused(version=version, document=name, problems="\n".join(problems))
    return whole


def _problems(document: Document, version: str) -> Iterator[str]:
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    if kind not in _definitions(version):
        yield f"there is no schema of {kind}"
        return
    for error in _validator(version, kind).iter_errors(document):
        yield f"{error.json_path}: {error.message}"


@cache
def _validator(version: str, kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # late: it loads slowly

    return Draft202012Validator({"$ref": f"#/$defs/{kind.replace('/', '~1')}", "$defs": _definitions(version)})


@cache
def _definitions(version: str) -> dict[str, Any]:
    read = (json.loads(data_file(f"kubernetes-{name}.json").read_bytes()) for name in (version, "resources"))
    core, custom = (each["$defs"] for each in read)
    predictor = {**custom[_PREDICTOR], "additionalProperties": False}
    predictor["properties"] = {**core[_POD]["properties"], **predictor["properties"]}
    return {**core, **custom, _PREDICTOR: predictor}
