"""A ModelPack artifact, whoever made it: what it says of itself in its manifest and its config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.host import Host
from builder.model.modelpack import FILE_PATH, MANIFEST_TYPE, ModelPack
from builder.oci.digest import Digest
from builder.oci.graph import Source
from builder.oci.layout import Layout, is_layout
from builder.oci.manifest import Document, Manifest, parse_object
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.oci.verify import MOST_JSON, TooLarge
from builder.pipeline.packages.package import NotAnImage, Package, inspect_image, inspect_layout
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedModel:
    """A ModelPack and what it says; ``artifact`` is its name by digest or the layout that it is in."""

    artifact: str
    manifest: Manifest
    said: ModelPack

    @property
    def digest(self) -> Digest:
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes of all layers as they travel."""
        return sum(layer.size for layer in self.manifest.layers)

    def to_json(self) -> dict[str, object]:
        subject = self.manifest.subject
        return {
            "schema": SCHEMA,
            "artifact": self.artifact,
            "digest": str(self.digest),
            "artifact_type": self.manifest.artifact_type,
            "subject": str(subject.digest) if subject else None,
            "size": self.size,
            "layers": [
                {
                    "digest": str(one.digest),
                    "media_type": one.media_type,
                    "size": one.size,
                    "path": one.annotations.get(FILE_PATH),
                }
                for one in self.manifest.layers
            ],
            "annotations": self.manifest.annotations,
            "modelpack": self.said.to_json(),
        }


def inspect_any(place: str, platform: Platform, host: Host) -> Package | PackedModel:
    """An image or a ModelPack, in a layout or behind a reference. Raises what ``inspect_image`` and ``inspect_layout``
    do."""
    directory = Path(place)
    try:
        if is_layout(directory):
            return inspect_layout(directory, platform)
        return inspect_image(Reference.parse(place), platform, host)
    except NotAnImage as error:
        if error.facts["artifact_type"] != MANIFEST_TYPE:
            raise
    if not is_layout(directory):
        return inspect_modelpack(Reference.parse(place), host)
    layout = Layout(directory)
    return _packed(layout.document(layout.index.manifests[0]), layout, directory)


def inspect_modelpack(reference: Reference, host: Host) -> PackedModel:
    """Behind a reference; no layer is read. Raises what a registry says, NotAnImage for another artifact,
    IntegrityError."""
    client = connect(reference, Purpose.PULL, acting_for(reference.registry, host))
    top = client.fetch_manifest(str(reference.digest or reference.tag or "latest"))
    return _packed(top, client, reference.at(top.descriptor.digest))


def _packed(top: Document, source: Source, name: PinnedReference | Path) -> PackedModel:
    manifest = Manifest(top.raw)
    if manifest.artifact_type != MANIFEST_TYPE:
        raise NotAnImage(image=name, artifact_type=manifest.artifact_type)
    if manifest.config.size > MOST_JSON:
        raise TooLarge(what=f"the config {manifest.config.digest}", limit=MOST_JSON)
    config = parse_object(b"".join(source.read_blob(manifest.config)), f"the config of {name}")
    return PackedModel(artifact=str(name), manifest=manifest, said=ModelPack.from_json(config))
