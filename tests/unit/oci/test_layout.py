"""Layouts: images are added and found by name and platform; nothing damaged is ever read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builder.oci.descriptor import IMAGE_INDEX, Descriptor
from builder.oci.layout import AmbiguousImage, Layout, MissingBlob, NoSuchImage, NotALayout
from builder.oci.manifest import Index
from builder.oci.platform import Platform
from builder.oci.verify import TooLarge, WrongBytes
from tests.support.tiny_image import AMD64, tiny_layout

ARM64 = Platform(os="linux", architecture="arm64")


def add(layout: Layout, found: Descriptor, reference: str) -> None:
    manifest = layout.manifest(found)
    layout.write_image(manifest, layout.config(manifest), layout.blob_path, reference)


def test_images_are_found_by_platform(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    tiny_layout(tmp_path, platform=ARM64)

    assert layout.find(platform=AMD64).platform == AMD64
    assert layout.find(platform=ARM64).platform == ARM64
    with pytest.raises(AmbiguousImage, match=r"linux/amd64.*linux/arm64"):
        layout.find()
    with pytest.raises(NoSuchImage, match="for linux/riscv64"):
        layout.find(platform=Platform.parse("linux/riscv64"))


def test_images_are_found_by_name(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    add(layout, layout.find(), "digits:1")
    tiny_layout(tmp_path, weights=b"other")

    weights = layout.manifest(layout.find("digits:1")).layers[1]
    assert bytes(range(256)) in b"".join(layout.read_blob(weights))
    assert len(list(layout.images())) == 2
    with pytest.raises(NoSuchImage, match="digits:2"):
        layout.find("digits:2")


def test_the_same_name_and_platform_is_replaced_and_its_own_blobs_go(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, weights=b"first")
    first = layout.manifest(layout.find())

    tiny_layout(tmp_path, weights=b"second")

    second = layout.manifest(layout.find())
    blobs = {path.name for path in (layout.path / "blobs/sha256").iterdir()}
    assert blobs == {d.hex for d in (second.digest, second.config.digest, *(layer.digest for layer in second.layers))}
    assert first.layers[0] == second.layers[0]  # shared, and still there
    assert first.layers[1].digest.hex not in blobs


def test_the_same_image_twice_changes_nothing(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    before = {path: path.read_bytes() for path in layout.path.rglob("*") if path.is_file()}

    tiny_layout(tmp_path)

    assert {path: path.read_bytes() for path in layout.path.rglob("*") if path.is_file()} == before


def test_an_image_below_a_nested_index_is_found(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    inner = Index.build(layout.index.manifests).raw
    nested = Descriptor.of(inner, IMAGE_INDEX)
    layout.blob_path(nested.digest).write_bytes(inner)
    named = replace(nested, annotations={"org.opencontainers.image.ref.name": "all:1"})
    found = layout.find()
    (layout.path / "index.json").write_bytes(Index.build([named]).raw)

    assert layout.find("all:1", AMD64).digest == found.digest


@pytest.mark.parametrize("cut", ["", "{}", "longer"])
def test_damaged_blobs_are_refused(tmp_path: Path, cut: str) -> None:
    layout = tiny_layout(tmp_path)
    layer = layout.manifest(layout.find()).layers[1]
    path = layout.blob_path(layer.digest)
    content = path.read_bytes() + b"more" if cut == "longer" else cut.encode()
    path.unlink()
    path.write_bytes(content)

    with pytest.raises(WrongBytes):
        list(layout.read_blob(layer))


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    found = layout.find()
    content = bytearray(layout.blob_path(found.digest).read_bytes())
    content[-2] ^= 1
    layout.blob_path(found.digest).write_bytes(content)

    with pytest.raises(WrongBytes, match="not its own"):
        layout.manifest(found)


def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)

    with pytest.raises(TooLarge):
        layout.manifest(replace(layout.find(), size=9 << 20))


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    manifest = layout.manifest(layout.find())
    layout.blob_path(manifest.config.digest).unlink()

    with pytest.raises(MissingBlob, match=str(manifest.config.digest)):
        layout.config(manifest)


def test_another_directory_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(NotALayout, match="there is no index"):
        Layout(tmp_path).find()


def test_nothing_is_left_behind_when_a_layer_is_missing(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    manifest = layout.manifest(layout.find())
    target = Layout(tmp_path / "target")

    with pytest.raises(FileNotFoundError):
        target.write_image(manifest, layout.config(manifest), lambda digest: tmp_path / digest.hex)

    assert not (target.path / "index.json").exists()
    assert list((target.path / "blobs/sha256").iterdir()) == []


def test_the_files_say_what_they_are(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)

    assert json.loads((layout.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout.path / "index.json").read_bytes())
    assert index["manifests"][0]["platform"] == {"os": "linux", "architecture": "amd64"}
