"""Reads images from a registry: an upstream base into the store, or a whole image into an OCI layout."""

from __future__ import annotations

from pathlib import Path

from builder.errors import ResolutionError
from builder.host import Host
from builder.oci.config import ImageConfig
from builder.oci.descriptor import INDEX_TYPES, Descriptor
from builder.oci.layout import Layout
from builder.oci.manifest import Index, Manifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.plan.image import UpstreamBase
from builder.registry.client import FetchedManifest, RegistryClient, connect
from builder.registry.credentials import Purpose


class PlatformMissing(ResolutionError):
    code = "platform-missing"
    message = "the image {reference} is not there for {platform}; it is there for {found}"
    hint = "build for one of those with --platform, or name another base"


def resolve(reference: Reference | PinnedReference, platform: Platform, host: Host) -> PinnedReference:
    """The digest of the one platform's manifest behind a tag, digest or index."""
    client = connect(reference, Purpose.PULL, host)
    digest = _platform_manifest(client, reference, platform).descriptor.digest
    return PinnedReference(registry=reference.registry, repository=reference.repository, digest=digest)


def pull_base(reference: Reference | PinnedReference, platform: Platform, host: Host) -> UpstreamBase:
    """An image as a base: its layers and its config are in ``host.store`` afterwards, verified.

    Raises RegistryError and its kinds, PlatformMissing, IntegrityError.
    """
    client = connect(reference, Purpose.PULL, host)
    manifest, config = _fetch(client, reference, platform, host)
    return UpstreamBase(
        reference=PinnedReference(registry=reference.registry, repository=reference.repository, digest=manifest.digest),
        layers=manifest.layers,
        diff_ids=config.diff_ids,
        config=config.raw,
    )


def pull_image(reference: Reference | PinnedReference, platform: Platform, destination: Path, host: Host) -> Layout:
    """An image as an OCI layout in ``destination``, its bytes as the registry has them."""
    client = connect(reference, Purpose.PULL, host)
    manifest, config = _fetch(client, reference, platform, host)
    layout = Layout(destination)
    layout.write_image(manifest, config, host.store.blob_path, str(reference))
    return layout


def _fetch(
    client: RegistryClient, reference: Reference | PinnedReference, platform: Platform, host: Host
) -> tuple[Manifest, ImageConfig]:
    """The manifest and the config as values, the layers into the store."""
    manifest = Manifest(_platform_manifest(client, reference, platform).raw)
    config = ImageConfig(client.fetch_blob(manifest.config))
    if not _fits(config.platform, platform):
        raise PlatformMissing(reference=reference, platform=platform, found=config.platform)
    host.store.put_blob([config.raw], expected=manifest.config.digest)
    for layer in manifest.layers:
        if not host.store.has_blob(layer.digest):
            client.store_blob(layer, host.store)
    return manifest, config


def _platform_manifest(
    client: RegistryClient, reference: Reference | PinnedReference, platform: Platform
) -> FetchedManifest:
    tag = reference.tag if isinstance(reference, Reference) else ""
    fetched = client.fetch_manifest(str(reference.digest or tag or "latest"))
    if fetched.descriptor.media_type not in INDEX_TYPES:
        return fetched
    chosen = _chosen(Index(fetched.raw).manifests, platform)
    if chosen is None:
        found = ", ".join(sorted({str(m.platform) for m in Index(fetched.raw).manifests if m.platform})) or "none"
        raise PlatformMissing(reference=reference, platform=platform, found=found)
    return client.fetch_manifest(str(chosen.digest))


def _chosen(manifests: tuple[Descriptor, ...], platform: Platform) -> Descriptor | None:
    """The first manifest for the platform, in the index's order (image-spec image-index.md)."""
    return next((one for one in manifests if one.platform and _fits(one.platform, platform)), None)


def _fits(offered: Platform, wanted: Platform) -> bool:
    """A variant counts only where both name one (arm64 is also written arm64/v8)."""
    same = (offered.os, offered.architecture) == (wanted.os, wanted.architecture)
    return same and (not offered.variant or not wanted.variant or offered.variant == wanted.variant)
