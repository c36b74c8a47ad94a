"""Each invariant of an image has an image that breaks it, and is refused for that."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.canonical import canonical_json
from builder.errors import IntegrityError
from builder.oci.config import ImageConfig
from builder.oci.descriptor import LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout, MissingBlob
from builder.oci.manifest import Manifest
from builder.oci.tar_reader import UnsafeLayer
from builder.oci.validate import InvalidImage, validate_image, validate_layer, validate_structure
from builder.oci.verify import UnreadableLayer, WrongBytes
from tests.support.tiny_image import tiny_layout


def rewritten(layout: Layout, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Descriptor:
    """The image with its manifest and config changed, and put in as a new one with right digests."""
    manifest = layout.manifest(layout.find())
    fields, config = json.loads(manifest.raw), json.loads(layout.config(manifest).raw)
    change(fields, config)
    config_raw = canonical_json(config)
    fields["config"] |= {"digest": str(Digest.of(config_raw)), "size": len(config_raw)}
    raw = canonical_json(fields)
    for content in (config_raw, raw):
        layout.blob_path(Digest.of(content)).write_bytes(content)
    return Manifest(raw).descriptor


def test_a_right_image_is_valid(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)

    validate_image(layout, layout.find())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m, c: c["rootfs"]["diff_ids"].pop(), "2 layers and 1 diff_ids"),
        (lambda m, c: c["history"].pop(), "speaks of 1 layers"),
        (lambda m, c: m["layers"][0].update(mediaType="text/plain"), "a layer is a text/plain"),
        (lambda m, c: m["config"].update(mediaType="text/plain"), "its config is a text/plain"),
        (lambda m, c: m.update(mediaType="text/plain"), "its manifest is a text/plain"),
        (lambda m, c: c["rootfs"]["diff_ids"].reverse(), "another diff_id"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(tmp_path: Path, change: Any, reason: str) -> None:
    layout = tiny_layout(tmp_path)

    with pytest.raises(InvalidImage, match=reason):
        validate_structure(layout, rewritten(layout, change))


def test_a_missing_or_cut_layer_is_refused_without_reading_it(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    found = layout.find()
    path = layout.blob_path(layout.manifest(found).layers[0].digest)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(MissingBlob):
        validate_structure(layout, found)
    path.write_bytes(content[:-1])
    with pytest.raises(WrongBytes):
        validate_structure(layout, found)


def test_a_layer_with_another_diff_id_is_refused(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    manifest = layout.manifest(layout.find())

    with pytest.raises(InvalidImage, match="its config says"):
        validate_layer(layout, manifest.layers[0], Digest.of(b"something else"))


def archive(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of (name, type, link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as writer:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            writer.addfile(member)
    return out.getvalue()


def stored(tmp_path: Path, content: bytes, media_type: str = LAYER_TAR) -> tuple[Layout, Descriptor]:
    layout = Layout(tmp_path)
    descriptor = Descriptor.of(content, media_type)
    layout.blob_path(descriptor.digest).parent.mkdir(parents=True)
    layout.blob_path(descriptor.digest).write_bytes(content)
    return layout, descriptor


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../escape", tarfile.REGTYPE, "")], "leads out"),
        ([("a/../../escape", tarfile.REGTYPE, "")], "leads out"),
        ([("link", tarfile.LNKTYPE, "../../etc/shadow")], "leads out"),
        ([("twice", tarfile.REGTYPE, ""), ("./twice", tarfile.REGTYPE, "")], "twice"),
        ([("odd", b"Z", "")], "a member of type"),
    ],
)
def test_unsafe_members_are_refused(tmp_path: Path, members: list[tuple[str, bytes, str]], reason: str) -> None:
    content = archive(*members)
    layout, layer = stored(tmp_path, content)

    with pytest.raises(UnsafeLayer, match=reason):
        validate_layer(layout, layer, Digest.of(content))


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"this is no tar" * 100, LAYER_TAR),
        (archive(("a", tarfile.REGTYPE, ""))[:300], LAYER_TAR),
        (b"this is no gzip", LAYER_GZIP),
        (gzip.compress(archive(("a", tarfile.REGTYPE, "")), mtime=0)[:-9], LAYER_GZIP),
        (b"\x28\xb5\x2f\xfd", LAYER_ZSTD),
    ],
)
def test_broken_archives_are_refused(tmp_path: Path, content: bytes, media_type: str) -> None:
    layout, layer = stored(tmp_path, content, media_type)

    with pytest.raises(UnreadableLayer):
        validate_layer(layout, layer, Digest.of(content))


def test_every_refusal_is_an_integrity_error() -> None:
    assert all(issubclass(kind, IntegrityError) for kind in (InvalidImage, UnsafeLayer, UnreadableLayer, WrongBytes))


def test_a_config_is_read_as_it_was_built() -> None:
    raw = b'{"architecture":"arm64","os":"linux","variant":"v8","rootfs":{"diff_ids":[]},"config":{"Labels":{"a":"b"}}}'

    config = ImageConfig(raw)

    assert (str(config.platform), config.labels, config.diff_ids) == ("linux/arm64/v8", {"a": "b"}, ())
