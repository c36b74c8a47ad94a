"""Remembers in the store which repository of a registry a blob was pushed to, so that others there mount it."""

from __future__ import annotations

from collections.abc import Iterable

from builder.canonical import content_key
from builder.host.store import Store
from builder.oci.digest import Digest
from builder.oci.reference import Reference

_KIND = "pushed"


def known_repository(store: Store, reference: Reference, digest: Digest) -> str:
    """Another repository of the reference's registry that was given the blob last, or nothing."""
    record = store.record(_KIND, _key(reference.registry, digest))
    repository = str(record["repository"]) if record else ""
    return repository if repository != reference.repository else ""


def note_repository(store: Store, reference: Reference, digests: Iterable[Digest]) -> None:
    """The repository has these blobs: a manifest there names them."""
    for digest in digests:
        key, value = _key(reference.registry, digest), {"repository": reference.repository}
        if store.record(_KIND, key) != value:
            store.put_record(_KIND, key, value)


def _key(registry: str, digest: Digest) -> str:
    return content_key({"registry": registry, "digest": str(digest)})
