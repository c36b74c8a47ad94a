"""Content descriptors (image-spec descriptor.md) and the media types that mbuild reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from builder.errors import IntegrityError
from builder.oci.digest import Digest
from builder.oci.platform import Platform

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES = (IMAGE_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (IMAGE_INDEX, DOCKER_MANIFEST_LIST)
GZIP_LAYER_TYPES = (LAYER_GZIP, DOCKER_LAYER_GZIP)


class MalformedDescriptor(IntegrityError):
    code = "malformed-descriptor"
    message = "a descriptor lacks or misspells {field}: {value!r}"
    hint = "the image was not written by a conforming tool; push it again from its source"


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What a blob is (``media_type``), which bytes (``digest``) and how many (``size``, bytes). ``artifact_type`` says
    in an index what kind of artifact a manifest is."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    platform: Platform | None = None
    artifact_type: str = ""

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Descriptor:
        return cls(media_type=media_type, digest=Digest.of(content), size=len(content))

    @classmethod
    def from_json(cls, value: object) -> Descriptor:
        """Read the JSON object; raises MalformedDescriptor naming the field."""
        if not isinstance(value, Mapping):
            raise MalformedDescriptor(field="object", value=value)
        media_type, size = value.get("mediaType"), value.get("size")
        if not isinstance(media_type, str):
            raise MalformedDescriptor(field="mediaType", value=media_type)
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise MalformedDescriptor(field="size", value=size)
        platform = value.get("platform")
        annotations = value.get("annotations") or {}
        return cls(
            media_type=media_type,
            digest=Digest(str(value.get("digest"))),
            size=size,
            annotations=MappingProxyType({str(k): str(v) for k, v in annotations.items()}),
            platform=None
            if not platform
            else Platform(
                os=platform.get("os", ""),
                architecture=platform.get("architecture", ""),
                variant=platform.get("variant", ""),
            ),
            artifact_type=str(value.get("artifactType") or ""),
        )

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        if self.platform:
            parts = {
                "os": self.platform.os,
                "architecture": self.platform.architecture,
                "variant": self.platform.variant,
            }
            value["platform"] = {key: part for key, part in parts.items() if part}
        return value


EMPTY_CONTENT = b"{}"
EMPTY = Descriptor.of(EMPTY_CONTENT, "application/vnd.oci.empty.v1+json")
"""The config of what has none (image-spec manifest.md, "Guidance for an Empty Descriptor")."""
