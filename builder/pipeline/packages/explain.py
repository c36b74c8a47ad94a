"""Where the bytes of an image went, and why each part is there; and the gate on its size."""

from __future__ import annotations

from dataclasses import dataclass

from builder.assemble.image import AssembledImage
from builder.assemble.streamed import StreamedImage
from builder.errors import AssemblyError
from builder.host import Host
from builder.oci.digest import Digest
from builder.oci.graph import layer_roles
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.pipeline.cache import parse_size
from builder.pipeline.packages.existing import opened_image
from builder.probe.contents import read_contents
from builder.probe.parts import LayerParts, Part, image_parts

SCHEMA = 1
_MOST_NAMED = 5


class ImageTooLarge(AssemblyError):
    code = "image-too-large"
    message = "the image for {platform} has {size} compressed, more than the {most} of --max-size"
    hint = (
        "the largest parts, as they lie on a disk: {parts}; `mbuild explain` shows all of them and why they are there"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """An image by its layers, the lowest first."""

    digest: Digest
    platform: Platform
    layers: tuple[LayerParts, ...]

    @property
    def size(self) -> int:
        """Bytes of all layers as they travel."""
        return sum(layer.descriptor.size for layer in self.layers)

    @property
    def unpacked(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def largest(self) -> tuple[Part, ...]:
        return tuple(sorted((part for layer in self.layers for part in layer.parts), key=lambda part: -part.size))

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "digest": str(self.digest),
            "platform": str(self.platform),
            "size": self.size,
            "unpacked_size": self.unpacked,
            "layers": [layer.to_json() for layer in self.layers],
        }


def explain_image(image: str, platform: Platform, host: Host) -> Explained:
    """Of a layout directory, of the local Docker engine, or of a registry. Raises what ``opened_image`` does."""
    with opened_image(image, platform, host) as layout:
        return explain_layout(layout, platform, host)


def explain_layout(layout: Layout, platform: Platform, host: Host) -> Explained:
    """Raises WrongBytes, UnreadableLayer, UnsafeLayer or OversizedFile."""
    manifest = layout.manifest(layout.find(platform=platform))
    contents = read_contents(layout, manifest, host.store)
    roles = layer_roles(manifest, layout.config(manifest))
    layers = image_parts(contents, manifest.layers, roles)
    return Explained(digest=manifest.digest, platform=platform, layers=layers)


def check_size(image: AssembledImage | StreamedImage, most: str, host: Host) -> None:
    """Raises ImageTooLarge where the layers have more bytes than ``most`` says (as in 900MB; empty: no limit)."""
    size = sum(layer.descriptor.size for layer in image.layers)
    if not most or size <= parse_size(most):
        return
    if isinstance(image, AssembledImage):
        largest = explain_layout(image.layout, image.config.platform, host).largest[:_MOST_NAMED]
        parts = ", ".join(f"{part.name} {part.version}".strip() + f" {_megabytes(part.size)}" for part in largest)
    else:
        layers = sorted(image.layers, key=lambda layer: -layer.descriptor.size)[:_MOST_NAMED]
        parts = ", ".join(f"{layer.name} {_megabytes(layer.descriptor.size)}" for layer in layers)
    raise ImageTooLarge(platform=image.config.platform, size=_megabytes(size), most=most, parts=parts)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
