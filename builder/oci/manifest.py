"""Manifests and indexes (image-spec manifest.md, image-index.md). The bytes are the value; fields are views of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from builder.canonical import canonical_json
from builder.errors import IntegrityError
from builder.oci.descriptor import EMPTY, IMAGE_INDEX, IMAGE_MANIFEST, Descriptor
from builder.oci.digest import Digest


class MalformedManifest(IntegrityError):
    code = "malformed-manifest"
    message = "{what} is malformed: {reason}"
    hint = "the image was not written by a conforming tool; push it again from its source"


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``; raises MalformedManifest."""
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise MalformedManifest(what=what, reason=f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise MalformedManifest(what=what, reason="not a JSON object")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A manifest or an index as it is stored; ``raw`` has the digest in ``descriptor``."""

    descriptor: Descriptor
    raw: bytes


@dataclass(frozen=True)
class Manifest:
    """An image manifest. ``raw`` is exactly what a registry stores."""

    raw: bytes

    @classmethod
    def build(
        cls,
        *,
        config: Descriptor,
        layers: Sequence[Descriptor],
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
    ) -> Manifest:
        """An image, or one that stands for ``subject`` in some use of it. It has no artifact type: CRI-O takes an image
        with one for an artifact (internal/ociartifact/store.go)."""
        return cls(canonical_json({**_manifest_value(config, layers), **_about(annotations, subject)}))

    @classmethod
    def build_artifact(
        cls,
        *,
        artifact_type: str,
        layers: Sequence[Descriptor],
        subject: Descriptor | None,
        annotations: Mapping[str, str] | None = None,
        config: Descriptor = EMPTY,
    ) -> Manifest:
        """An artifact about ``subject``, without a config the empty one (image-spec manifest.md, "Guidelines for
        artifacts")."""
        value = {**_manifest_value(config, layers), "artifactType": artifact_type, **_about(annotations, subject)}
        return cls(canonical_json(value))

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return parse_object(self.raw, "the image manifest")

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @property
    def media_type(self) -> str:
        return str(self._fields.get("mediaType", IMAGE_MANIFEST))

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def config(self) -> Descriptor:
        return Descriptor.from_json(self._fields.get("config"))

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        layers = self._fields.get("layers")
        if not isinstance(layers, list):
            raise MalformedManifest(what="the image manifest", reason="layers is not a list")
        return tuple(Descriptor.from_json(layer) for layer in layers)

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self._fields.get("annotations") or {})

    @property
    def artifact_type(self) -> str:
        """What it is when it is no image; readers fall back to the config's media type."""
        return str(self._fields.get("artifactType") or self.config.media_type)

    @property
    def subject(self) -> Descriptor | None:
        """The manifest that this one is about."""
        return _subject(self._fields)


def _subject(fields: Mapping[str, Any]) -> Descriptor | None:
    subject = fields.get("subject")
    return Descriptor.from_json(subject) if subject else None


def _manifest_value(config: Descriptor, layers: Sequence[Descriptor]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }


def _about(annotations: Mapping[str, str] | None, subject: Descriptor | None) -> dict[str, object]:
    """What any manifest or index may have; a subject is named by its bytes alone."""
    value: dict[str, object] = {}
    if subject:
        value["subject"] = replace(subject, annotations={}, platform=None).to_json()
    if annotations:
        value["annotations"] = dict(annotations)
    return value


@dataclass(frozen=True)
class Index:
    """An image index: one manifest descriptor for each platform."""

    raw: bytes

    @classmethod
    def build(
        cls,
        manifests: Sequence[Descriptor],
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | None = None,
    ) -> Index:
        value: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": IMAGE_INDEX,
            "manifests": [manifest.to_json() for manifest in manifests],
        }
        return cls(canonical_json({**value, **_about(annotations, subject)}))

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return parse_object(self.raw, "the image index")

    @cached_property
    def manifests(self) -> tuple[Descriptor, ...]:
        manifests = self._fields.get("manifests")
        if not isinstance(manifests, list):
            raise MalformedManifest(what="the image index", reason="manifests is not a list")
        return tuple(Descriptor.from_json(manifest) for manifest in manifests)

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self._fields.get("annotations") or {})

    @property
    def artifact_type(self) -> str:
        """Empty where it is an index of images."""
        return str(self._fields.get("artifactType") or "")

    @property
    def subject(self) -> Descriptor | None:
        """What this one is about."""
        return _subject(self._fields)
