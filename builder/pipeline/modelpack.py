"""A ModelPack artifact in a registry, whoever made it: what it says of itself in its manifest and its config."""

from __future__ import annotations

from dataclasses import dataclass

from builder.host import Host
from builder.model.modelpack import FILE_PATH, MANIFEST_TYPE, ModelPack
from builder.oci.manifest import Manifest, parse_object
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.pipeline.package import NotAnImage, Package, inspect_image
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedModel:
    """A ModelPack and what it says."""

    reference: PinnedReference
    manifest: Manifest
    said: ModelPack

    @property
    def size(self) -> int:
        """Bytes of all layers as they travel."""
        return sum(layer.size for layer in self.manifest.layers)

    def to_json(self) -> dict[str, object]:
        subject = self.manifest.subject
        return {
            "schema": SCHEMA,
            "artifact": str(self.reference),
            "digest": str(self.reference.digest),
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


def inspect_modelpack(reference: Reference, host: Host) -> PackedModel:
    """No layer is read. Raises what a registry says, NotAnImage for another artifact, IntegrityError."""
    host = acting_for(reference.registry, host)
    client = connect(reference, Purpose.PULL, host)
    top = client.fetch_manifest(str(reference.digest or reference.tag or "latest"))
    manifest, pinned = Manifest(top.raw), reference.at(top.descriptor.digest)
    if manifest.artifact_type != MANIFEST_TYPE:
        raise NotAnImage(image=pinned, artifact_type=manifest.artifact_type)
    config = parse_object(client.fetch_blob(manifest.config), f"the config of {pinned}")
    return PackedModel(reference=pinned, manifest=manifest, said=ModelPack.from_json(config))


def inspect_reference(reference: Reference, platform: Platform, host: Host) -> Package | PackedModel:
    """An image, or a ModelPack. Raises what ``inspect_image`` does."""
    try:
        return inspect_image(reference, platform, host)
    except NotAnImage as error:
        if error.facts["artifact_type"] != MANIFEST_TYPE:
            raise
        return inspect_modelpack(reference, host)
