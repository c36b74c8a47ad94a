"""The image config (image-spec config.md): what runs, and the diff_ids of the layers. The bytes are the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from builder.canonical import canonical_json
from builder.oci.descriptor import IMAGE_CONFIG, Descriptor
from builder.oci.digest import Digest
from builder.oci.manifest import MalformedManifest, parse_object
from builder.oci.platform import Platform


@dataclass(frozen=True)
class ImageConfig:
    """``raw`` is the config blob; its digest is what Docker calls the image id."""

    raw: bytes

    @classmethod
    def build(
        cls,
        *,
        platform: Platform,
        created: str,
        settings: Mapping[str, object],
        diff_ids: Sequence[Digest],
        history: Sequence[Mapping[str, object]],
    ) -> ImageConfig:
        """``settings`` is the ``config`` object (Env, Entrypoint, User ...); ``created`` an RFC 3339 time."""
        value: dict[str, object] = {
            "architecture": platform.architecture,
            "os": platform.os,
            "created": created,
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in diff_ids]},
            "history": [dict(item) for item in history],
        }
        if platform.variant:
            value["variant"] = platform.variant
        return cls(canonical_json(value))

    @cached_property
    def fields(self) -> dict[str, Any]:
        return parse_object(self.raw, "the image config")

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=IMAGE_CONFIG, digest=self.digest, size=len(self.raw))

    @property
    def platform(self) -> Platform:
        fields = self.fields
        return Platform(
            os=str(fields.get("os", "")),
            architecture=str(fields.get("architecture", "")),
            variant=str(fields.get("variant", "")),
        )

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        listed = (self.fields.get("rootfs") or {}).get("diff_ids")
        if not isinstance(listed, list):
            raise MalformedManifest(what="the image config", reason="rootfs.diff_ids is not a list")
        return tuple(Digest(str(item)) for item in listed)

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """What was done, the oldest first; items with ``empty_layer`` made none."""
        return tuple(item for item in self.fields.get("history") or () if isinstance(item, dict))

    @property
    def settings(self) -> dict[str, Any]:
        """The ``config`` object: Env, Entrypoint, Cmd, User, ExposedPorts, Labels, WorkingDir, Healthcheck."""
        return dict(self.fields.get("config") or {})

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.settings.get("Labels") or {})
