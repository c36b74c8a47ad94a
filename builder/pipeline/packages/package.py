"""A package without a pull: what an image in a registry or a layout says of itself in its manifest and its config, and
what the report that is attached to it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.errors import UsageError
from builder.host import Host
from builder.model.attached import attachment_name
from builder.model.face import Face
from builder.model.measured import Measured
from builder.oci.config import ImageConfig
from builder.oci.descriptor import DOCKER_CONFIG, IMAGE_CONFIG, INDEX_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Source
from builder.oci.layout import Layout
from builder.oci.manifest import Document, Index, Manifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.oci.verify import MOST_JSON, TooLarge
from builder.pipeline.packages.report import fetch_report, read_report
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for
from builder.registry.pull import PlatformMissing, manifest_for
from builder.registry.referrers import list_referrers

SCHEMA = 1


class NotAnImage(UsageError):
    code = "not-an-image"
    message = "{image} is no container image but an artifact of the type {artifact_type}"
    hint = "name the image that it is about; `mbuild copy` moves artifacts too"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """``image`` is its name by digest or the layout that it is in; ``digest`` is that of what was named, ``manifest``
    and ``config`` those of the image for ``platform``; ``platforms`` are all that an index has, with their manifests'
    digests. ``face`` is None where mbuild did not make it, ``measured`` where no report is attached. ``attached`` are
    all artifacts about it in its registry: what each is, and its digest."""

    image: str
    digest: Digest
    manifest: Manifest
    config: ImageConfig
    platforms: tuple[tuple[Platform, Digest], ...]
    face: Face | None
    measured: Measured | None = None
    attached: tuple[tuple[str, Digest], ...] = ()

    def with_report(self, report: object) -> Package:
        return replace(self, measured=Measured.from_report(report, str(self.platform)))

    @property
    def platform(self) -> Platform:
        return self.config.platform

    @property
    def size(self) -> int:
        """Bytes of all layers as they travel."""
        return sum(layer.size for layer in self.manifest.layers)

    @property
    def created(self) -> str:
        return str(self.config.fields.get("created") or "")

    @property
    def settings(self) -> Mapping[str, Any]:
        """What any image says of how it runs."""
        names = {"Entrypoint": "entrypoint", "Cmd": "cmd", "User": "user", "WorkingDir": "workdir", "Env": "env"}
        return {name: self.config.settings[key] for key, name in names.items() if self.config.settings.get(key)}

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "image": self.image,
            "digest": str(self.digest),
            "manifest": str(self.manifest.digest),
            "id": str(self.config.digest),
            "platform": str(self.platform),
            "platforms": [{"platform": str(one), "digest": str(digest)} for one, digest in self.platforms],
            "created": self.created or None,
            "size": self.size,
            "layers": [
                {"digest": str(one.digest), "media_type": one.media_type, "size": one.size}
                for one in self.manifest.layers
            ],
            "ports": list(exposed_ports(self.config)),
            "settings": dict(self.settings),
            "labels": self.config.labels,
            "annotations": self.manifest.annotations,
            "face": self.face.to_json() if self.face else None,
            "measured": self.measured.to_json() if self.measured else None,
            "attached": [{"what": what, "digest": str(digest)} for what, digest in self.attached],
        }


def inspect_image(reference: Reference, platform: Platform, host: Host) -> Package:
    """Of an image in a registry; no layer is read. Raises what a registry says, PlatformMissing, NotAnImage,
    MalformedFace, IntegrityError."""
    host = acting_for(reference.registry, host)
    package = look_at(reference, platform, host)
    pinned = reference.at(package.digest)
    listed = list_referrers(pinned, host)
    package = replace(package, attached=tuple((attachment_name(one), one.digest) for one in listed))
    report = fetch_report(pinned, listed, host)
    return package if report is None else package.with_report(report)


def look_at(reference: Reference, platform: Platform | None, host: Host) -> Package:
    """The same without what was measured; None: of an index the first image."""
    client = connect(reference, Purpose.PULL, host)
    top = client.fetch_manifest(str(reference.digest or reference.tag or "latest"))
    pinned = reference.at(top.descriptor.digest)
    manifest, platforms = _image(top, client, platform, pinned)
    return _package(manifest, client, image=str(pinned), digest=top.descriptor.digest, platforms=platforms)


def inspect_layout(directory: Path, platform: Platform) -> Package:
    """Of the image in a layout, or the one of several that fits the platform. Raises NotALayout, NoSuchImage,
    AmbiguousImage, NotAnImage, MalformedFace, IntegrityError."""
    layout = Layout(directory)
    entries = layout.index.manifests
    entry = entries[0] if len(entries) == 1 else layout.find(platform=platform)
    top = layout.document(entry)
    manifest, platforms = _image(top, layout, platform, directory)
    report = read_report(directory, entry.digest)
    package = _package(manifest, layout, image=str(directory), digest=entry.digest, platforms=platforms)
    return package if report is None else package.with_report(report)


def _image(
    top: Document, source: Source, platform: Platform | None, name: PinnedReference | Path
) -> tuple[Manifest, tuple[tuple[Platform, Digest], ...]]:
    """The manifest of an image, or out of an index that for the platform, and all that there are."""
    if top.descriptor.media_type not in INDEX_TYPES:
        return Manifest(top.raw), ()
    manifests = Index(top.raw).manifests
    chosen = manifest_for(manifests, platform) if platform else next(iter(manifests), None)
    offered = tuple((one.platform, one.digest) for one in manifests if one.platform)
    if chosen is None:
        found = ", ".join(sorted({str(one) for one, _ in offered})) or "none"
        raise PlatformMissing(reference=name, platform=platform, found=found)
    return Manifest(source.document(chosen).raw), offered


def _package(
    manifest: Manifest,
    source: Source,
    *,
    image: str,
    digest: Digest,
    platforms: tuple[tuple[Platform, Digest], ...],
) -> Package:
    config = _config(manifest, source, image)
    platform = str(config.platform)
    return Package(
        image=image,
        digest=digest,
        manifest=manifest,
        config=config,
        platforms=platforms or ((config.platform, manifest.digest),),
        face=Face.from_labels(config.labels, platform=platform, ports=exposed_ports(config), image=image),
    )


def _config(manifest: Manifest, source: Source, image: str) -> ImageConfig:
    descriptor: Descriptor = manifest.config
    if descriptor.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG):
        raise NotAnImage(image=image, artifact_type=manifest.artifact_type)
    if descriptor.size > MOST_JSON:
        raise TooLarge(what=f"the config {descriptor.digest}", limit=MOST_JSON)
    return ImageConfig(b"".join(source.read_blob(descriptor)))


def exposed_ports(config: ImageConfig) -> tuple[int, ...]:
    """Those for TCP, in rising order."""
    exposed = config.settings.get("ExposedPorts") or {}
    numbers = [port.partition("/") for port in exposed if isinstance(port, str)]
    return tuple(sorted(int(number) for number, _, kind in numbers if number.isdigit() and kind in ("", "tcp")))
