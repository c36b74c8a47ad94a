"""Pushes the images of an OCI layout: blobs, config, manifest, index, tag, in this order, so that what a tag points to
is always whole. It can be stopped and run again at any point: what is there is skipped."""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import MbuildError, UsageError
from builder.host import Host
from builder.oci.descriptor import IMAGE_INDEX, Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.manifest import Index, Manifest
from builder.oci.reference import PinnedReference, Reference
from builder.registry.client import RegistryClient, connect
from builder.registry.credentials import Purpose
from builder.registry.transfer import Tally, for_each

_BASE_NAME = "org.opencontainers.image.base.name"
_STEP = "push"


class NothingToPush(UsageError):
    code = "nothing-to-push"
    message = "the layout {layout} holds no image"
    hint = "name a directory that `mbuild build -o DIR` wrote"


class TagNeedsRegistry(UsageError):
    code = "tag-needs-registry"
    message = "{name} does not say to which registry it is pushed"
    hint = "put the registry before it, for example localhost:5000/{name}, or docker.io/ACCOUNT/{name} for Docker Hub"


class PushedDigestDiffers(UsageError):
    code = "pushed-digest-differs"
    message = "the reference names {asked}, but the image in the layout is {actual}"
    hint = "push to a tag, or build the image that the digest names"


@dataclass(frozen=True, kw_only=True, slots=True)
class PushResult:
    """Where the image is now, and how many bytes were uploaded, mounted from another repository, or there already."""

    reference: PinnedReference
    tag: str
    uploaded: int
    mounted: int
    skipped: int

    def to_json(self) -> dict[str, object]:
        return {
            "reference": str(self.reference),
            "tag": self.tag or None,
            "uploaded": self.uploaded,
            "mounted": self.mounted,
            "skipped": self.skipped,
        }


def require_registry(reference: Reference) -> None:
    """Raises TagNeedsRegistry for a bare name, which means Docker Hub's own images to every other tool."""
    if reference.is_bare:
        raise TagNeedsRegistry(name=reference.familiar)


def push(layout: Layout, reference: Reference, host: Host) -> PushResult:
    """Push every image of the layout: one under the tag itself, several through an index.

    Without tag and digest the tag is ``latest``. Raises RegistryError and its kinds, TagNeedsRegistry, NothingToPush,
    IntegrityError when a blob of the layout is damaged.
    """
    require_registry(reference)
    images = tuple({image.digest: image for image in layout.images()}.values())
    if not images:
        raise NothingToPush(layout=layout.path)
    raw, top = _top(layout, images)
    if reference.digest and reference.digest != top.digest:
        raise PushedDigestDiffers(asked=reference.digest, actual=top.digest)
    tag = reference.tag or ("" if reference.digest else "latest")
    manifests = tuple(layout.manifest(image) for image in images)
    tally = _push_all(layout, manifests, _Tagged(raw=raw, top=top, tag=tag), reference, host)
    return PushResult(
        reference=reference.at(top.digest),
        tag=tag,
        uploaded=tally.uploaded,
        mounted=tally.mounted,
        skipped=tally.skipped,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tagged:
    """What the tag will point to: a manifest, or an index of several."""

    raw: bytes
    top: Descriptor
    tag: str


def _top(layout: Layout, images: tuple[Descriptor, ...]) -> tuple[bytes, Descriptor]:
    if len(images) == 1:
        manifest = layout.manifest(images[0])
        return manifest.raw, manifest.descriptor
    plain = [Descriptor(media_type=i.media_type, digest=i.digest, size=i.size, platform=i.platform) for i in images]
    index = Index.build(plain)
    return index.raw, Descriptor.of(index.raw, IMAGE_INDEX)


def _push_all(
    layout: Layout, manifests: tuple[Manifest, ...], tagged: _Tagged, reference: Reference, host: Host
) -> Tally:
    layers = {layer.digest: layer for manifest in manifests for layer in manifest.layers}
    configs = {manifest.config.digest: manifest.config for manifest in manifests}
    sources = _mount_sources(manifests, reference)
    client = connect(reference, Purpose.PUSH, host, also_pull=tuple(sorted(set(sources.values()))))
    inner = tuple(manifest for manifest in manifests if manifest.digest != tagged.top.digest)
    blobs = [*layers.values(), *configs.values()]
    total = sum(blob.size for blob in blobs) + sum(len(manifest.raw) for manifest in inner) + tagged.top.size
    tally = Tally(_STEP, total, host.events)

    def push_blob(blob: Descriptor) -> None:
        _push_blob(client, layout, blob, sources.get(blob.digest), tally)

    for_each(push_blob, sorted(layers.values(), key=lambda layer: -layer.size), tally)
    for_each(push_blob, configs.values(), tally)
    for manifest in inner:
        _push_manifest(client, manifest.raw, manifest.descriptor, str(manifest.digest), tally)
    _push_manifest(client, tagged.raw, tagged.top, tagged.tag or str(tagged.top.digest), tally)
    return tally


def _push_blob(client: RegistryClient, layout: Layout, blob: Descriptor, source: str | None, tally: Tally) -> None:
    if client.has_blob(blob):
        tally.add(blob, skipped=blob.size)
    elif source and client.mount_blob(blob.digest, source):
        tally.add(blob, mounted=blob.size)
    else:
        client.upload_blob(blob, lambda: tally.counted(layout.read_blob(blob), blob.digest))
        tally.add(blob, uploaded=blob.size)


def _push_manifest(client: RegistryClient, raw: bytes, descriptor: Descriptor, name: str, tally: Tally) -> None:
    if client.manifest_digest(name) == descriptor.digest:
        tally.add(descriptor, skipped=descriptor.size)
    else:
        client.put_manifest(raw, descriptor.media_type, name)
        tally.add(descriptor, uploaded=descriptor.size)


def _mount_sources(manifests: tuple[Manifest, ...], reference: Reference) -> dict[Digest, str]:
    """For each layer, the repository of the same registry that has it: that of the base image, as its name says."""
    sources: dict[Digest, str] = {}
    for manifest in manifests:
        try:
            base = Reference.parse(manifest.annotations.get(_BASE_NAME, ""))
        except MbuildError:
            continue
        if base.registry == reference.registry and base.repository != reference.repository:
            sources |= {layer.digest: base.repository for layer in manifest.layers}
    return sources
