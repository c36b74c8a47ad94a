"""Semantic versions as tags are not moved: who fetched 1.2.0 yesterday gets the same today (semver.org, 2.0.0, item 3).

Other tags (``latest``, ``1``, a commit's hash) go where they are pushed.
"""

from __future__ import annotations

import re

from builder.errors import RegistryError
from builder.host import Host
from builder.oci.digest import Digest
from builder.oci.reference import Reference
from builder.registry.client import connect
from builder.registry.credentials import Purpose
from builder.registry.errors import NotThere

_NUMBER = r"(?:0|[1-9][0-9]*)"
_VERSION = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-[0-9A-Za-z.-]+)?")


class VersionTaken(RegistryError):
    code = "version-taken"
    message = "the version {reference} is there already, with other bytes: it is {taken}, and this is {digest}"
    hint = "raise `version` in model.yaml, and the tag with it; --force moves the tag all the same"


def is_version(tag: str) -> bool:
    """Whether a tag is a whole version: 1.2.0, v1.2.0, 1.2.0-rc.1; not 1 or 1.2, which move."""
    return _VERSION.fullmatch(tag) is not None


def require_free(reference: Reference, digest: Digest, host: Host) -> None:
    """Raise VersionTaken where the tag is a version that is there and means another manifest than ``digest``."""
    if not is_version(reference.tag):
        return
    try:
        taken = connect(reference, Purpose.PUSH, host).fetch_manifest(reference.tag).descriptor.digest
    except NotThere:
        return
    if taken != digest:
        raise VersionTaken(reference=reference.familiar, taken=taken, digest=digest)
