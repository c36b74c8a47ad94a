"""A registry as an index of packages: every tag of a repository, or of all repositories, with what its image says of
itself. Reads manifests and configs only."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from builder.errors import IntegrityError
from builder.host import Host
from builder.model.modelpack import MANIFEST_TYPE
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.packages.modelpack import inspect_modelpack
from builder.pipeline.packages.package import NotAnImage, Package, look_at
from builder.registry.credentials import acting_for
from builder.registry.errors import NotThere
from builder.registry.listing import list_repositories, list_tags
from builder.registry.pull import PlatformMissing

SCHEMA = 1
_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A tag. ``package`` is None where it is no image that can be read, and then ``remark`` says why."""

    reference: Reference
    package: Package | None
    remark: str = ""

    def to_json(self) -> dict[str, object]:
        package, face = self.package, self.package.face if self.package else None
        return {
            "reference": str(self.reference),
            "digest": str(package.digest) if package else None,
            "remark": self.remark or None,
            "name": face.name if face else None,
            "version": face.version if face else None,
            "models": [f"{model.name}:{model.version}" for model in face.models] if face else [],
            "server": face.server if face else None,
            "target": face.target if face else None,
            "platforms": [str(platform) for platform, _ in package.platforms] if package else [],
            "size": package.size if package else None,
            "created": package.created or None if package else None,
        }


def list_packages(place: str, host: Host) -> tuple[Entry, ...]:
    """``place`` is a registry, or a repository in one. Sorted by name. Raises MalformedReference, NoCatalog, NotThere,
    and what a registry says."""
    registry, _, repository = place.rstrip("/").partition("/")
    host = acting_for(registry, host)
    names = [repository] if repository else list_repositories(registry, host)
    references = [Reference.parse(f"{registry}/{name}") for name in names]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list_those = list_tags if repository else _tags
        tags = pool.map(lambda one: list_those(one, host), references)
        tagged = [replace(one, tag=tag) for one, own in zip(references, tags, strict=True) for tag in own]
        return tuple(pool.map(lambda one: _entry(one, host), tagged))


def _entry(reference: Reference, host: Host) -> Entry:
    """Of an index the image for this machine, else its first."""
    try:
        return Entry(reference=reference, package=_package(reference, host))
    except NotAnImage as error:
        return Entry(reference=reference, package=None, remark=_what_else(reference, error, host))
    except IntegrityError as error:
        return Entry(reference=reference, package=None, remark=str(error))


def _what_else(reference: Reference, error: NotAnImage, host: Host) -> str:
    artifact_type = error.facts["artifact_type"]
    if artifact_type != MANIFEST_TYPE:
        return f"no image: {artifact_type}"
    said = inspect_modelpack(reference, host).said
    return " ".join(("ModelPack:", *filter(None, (said.name, said.version))))


def _package(reference: Reference, host: Host) -> Package:
    try:
        return look_at(reference, Platform.of_this_machine(), host)
    except PlatformMissing:
        return look_at(reference, None, host)


def _tags(repository: Reference, host: Host) -> tuple[str, ...]:
    """A catalog may name repositories whose last tag was deleted."""
    try:
        return list_tags(repository, host)
    except NotThere:
        return ()


def as_json(entries: Sequence[Entry]) -> dict[str, object]:
    return {"schema": SCHEMA, "packages": [entry.to_json() for entry in entries]}
