"""What is attached to an image beside its report: the same layers put to other uses.

An image and all of these name the same blobs, so that what is large is in a registry once. Each is a referrer of the
image (OCI 1.1), found by what ``Use`` says in its annotation ``dev.mbuild.use``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from builder.errors import UsageError
from builder.model.measured import REPORT_TYPE
from builder.model.modelpack import MANIFEST_TYPE
from builder.oci.descriptor import Descriptor
from builder.oci.reference import PinnedReference

USE = "dev.mbuild.use"
"""Annotation of a manifest or index, and label of its images: a ``Use``."""

WEIGHTS = "dev.mbuild.weights"
"""Annotation and label of a server without models: the digest of the image that has them."""

MOUNT_PATH = "/models"
"""Where a server looks for models, and where a volume with them is mounted. Read-only will do."""

SUB_PATH = "models"
"""The directory of the weights' image that is mounted there; it has nothing else."""


class Use(StrEnum):
    """``SERVER`` is the image without its models, ``WEIGHTS`` an image of the models alone."""

    SERVER = "server"
    WEIGHTS = "weights"


class HalfAnImage(UsageError):
    code = "half-an-image"
    message = "{image} is {half}, and serves nothing on its own"
    hint = "name the image that it is attached to; `mbuild inspect` of that lists it"


_HALVES = {Use.SERVER: "a server without its models", Use.WEIGHTS: "a volume of models without a server"}


def require_whole(labels: Mapping[str, str], image: object) -> None:
    """Raises HalfAnImage for an image that was made to be mounted, or to have something mounted."""
    use = labels.get(USE, "")
    if use in _HALVES:
        raise HalfAnImage(image=image, half=_HALVES[Use(use)])


_KNOWN = {MANIFEST_TYPE: "modelpack", REPORT_TYPE: "report"}


def attachment_name(entry: Descriptor) -> str:
    """What an entry of a list of referrers is: in a word, or its artifact type."""
    return entry.annotations.get(USE) or _KNOWN.get(entry.artifact_type, entry.artifact_type)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsVolume:
    """An image in two: ``server`` serves as the whole does where ``SUB_PATH`` of ``weights`` is mounted at
    ``MOUNT_PATH``. Both name an index where the image is one for several platforms."""

    server: PinnedReference
    weights: PinnedReference
