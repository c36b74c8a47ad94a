"""Reads images from a registry into the store: an upstream base, a whole image, or some layers of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import ResolutionError
from builder.host import Host
from builder.host.fs import require_room
from builder.oci.config import ImageConfig
from builder.oci.descriptor import INDEX_TYPES, Descriptor
from builder.oci.graph import Blob, Graph, gather
from builder.oci.manifest import Document, Index, Manifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.plan.image import UpstreamBase
from builder.registry.client import RegistryClient, connect
from builder.registry.credentials import Purpose
from builder.registry.transfer import Moved, Outcome, Tally, for_each

_STEP = "pull"


class PlatformMissing(ResolutionError):
    code = "platform-missing"
    message = "the image {reference} is not there for {platform}; it is there for {found}"
    hint = "name one of those with --platform, or another image"


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteImage:
    """What a reference led to, and the repository that has its blobs."""

    reference: PinnedReference
    graph: Graph
    client: RegistryClient


def resolve(reference: Reference | PinnedReference, platform: Platform, host: Host) -> PinnedReference:
    """The digest of the one platform's manifest behind a tag, digest or index."""
    client = connect(reference, Purpose.PULL, host)
    return _pinned(reference, _of_platform(client, reference, platform))


def find_image(reference: Reference | PinnedReference, platform: Platform | None, host: Host) -> RemoteImage:
    """What lies behind a reference: one platform's image, or (None) everything that it names. Reads no layer.

    Raises RegistryError and its kinds, PlatformMissing, IntegrityError.
    """
    client = connect(reference, Purpose.PULL, host)
    top = client.fetch_manifest(_name(reference)) if platform is None else _of_platform(client, reference, platform)
    origin = (reference.registry, reference.repository)
    return RemoteImage(reference=_pinned(reference, top), graph=gather(top, client, (origin,)), client=client)


def fetch_blobs(image: RemoteImage, blobs: Iterable[Blob], host: Host) -> tuple[Moved, ...]:
    """Have these blobs of an image in the store, several at a time; what is there is not fetched, and what an earlier
    try left is gone on with."""
    wanted = sorted(blobs, key=lambda blob: -blob.descriptor.size)
    tally = Tally(_STEP, sum(blob.descriptor.size for blob in wanted), host.events)
    there = {blob.descriptor.digest for blob in wanted if host.store.has_blob(blob.descriptor.digest)}
    lacking = {blob.descriptor.digest: blob.descriptor for blob in wanted if blob.descriptor.digest not in there}
    require_room(host.store.root, sum(map(host.store.lacks, lacking.values())), f"the rest of {image.reference}")

    def fetch(blob: Blob) -> None:
        descriptor = blob.descriptor
        if descriptor.digest in there:
            tally.add(descriptor, blob.role, Outcome.REUSED)
            return
        image.client.store_blob(descriptor, host.store, lambda done: tally.reach(descriptor, blob.role, done))
        tally.add(descriptor, blob.role, Outcome.DOWNLOADED)

    for_each(fetch, wanted, tally)
    return tally.moved


def pull_base(reference: Reference | PinnedReference, platform: Platform, host: Host) -> UpstreamBase:
    """An image as a base: its layers and its config are in ``host.store`` afterwards, verified.

    Raises what ``find_image`` does.
    """
    image = find_image(reference, platform, host)
    fetch_blobs(image, image.graph.blobs, host)
    manifest = Manifest(image.graph.top.raw)
    config = ImageConfig(b"".join(host.store.read_blob(manifest.config.digest)))
    if not _fits(config.platform, platform):
        raise PlatformMissing(reference=reference, platform=platform, found=config.platform)
    return UpstreamBase(reference=image.reference, layers=manifest.layers, diff_ids=config.diff_ids, config=config.raw)


def _pinned(reference: Reference | PinnedReference, document: Document) -> PinnedReference:
    digest = document.descriptor.digest
    return PinnedReference(registry=reference.registry, repository=reference.repository, digest=digest)


def _name(reference: Reference | PinnedReference) -> str:
    tag = reference.tag if isinstance(reference, Reference) else ""
    return str(reference.digest or tag or "latest")


def _of_platform(client: RegistryClient, reference: Reference | PinnedReference, platform: Platform) -> Document:
    fetched = client.fetch_manifest(_name(reference))
    if fetched.descriptor.media_type not in INDEX_TYPES:
        return fetched
    chosen = manifest_for(Index(fetched.raw).manifests, platform)
    if chosen is None:
        found = ", ".join(sorted({str(m.platform) for m in Index(fetched.raw).manifests if m.platform})) or "none"
        raise PlatformMissing(reference=reference, platform=platform, found=found)
    return client.document(chosen)


def manifest_for(manifests: tuple[Descriptor, ...], platform: Platform) -> Descriptor | None:
    """The first manifest for the platform, in the index's order (image-spec image-index.md)."""
    return next((one for one in manifests if one.platform and _fits(one.platform, platform)), None)


def _fits(offered: Platform, wanted: Platform) -> bool:
    """A variant counts only where both name one (arm64 is also written arm64/v8)."""
    same = (offered.os, offered.architecture) == (wanted.os, wanted.architecture)
    return same and (not offered.variant or not wanted.variant or offered.variant == wanted.variant)
