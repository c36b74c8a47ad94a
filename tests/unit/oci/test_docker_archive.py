"""docker-archives: ours is read back, and so are those of old and new engines."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from builder.oci.docker_archive import MalformedArchive, read_archive, write_archive
from builder.oci.verify import WrongBytes
from tests.support.tiny_image import tiny_layout


def archive(files: dict[str, bytes], links: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as writer:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            writer.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            writer.addfile(member)
    return out.getvalue()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    manifest = layout.manifest(layout.find())

    saved = read_archive(write_archive(layout, manifest, ["digits:1"]), tmp_path)

    assert saved.config == layout.config(manifest).raw
    assert [path.read_bytes() for path in saved.layers] == [
        layout.blob_path(layer.digest).read_bytes() for layer in manifest.layers
    ]


def test_the_archive_names_its_tags(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    content = b"".join(write_archive(layout, layout.manifest(layout.find()), ["digits:1", "localhost:5000/digits:1"]))

    with tarfile.open(fileobj=io.BytesIO(content)) as written:
        listed = written.extractfile("manifest.json")
        assert listed is not None
        assert json.load(listed)[0]["RepoTags"] == ["digits:1", "localhost:5000/digits:1"]


def test_a_repeated_layer_is_a_link_in_old_archives(tmp_path: Path) -> None:
    listing = [{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]
    files = {"1/layer.tar": b"layer", "c.json": b"{}", "manifest.json": json.dumps(listing).encode()}

    saved = read_archive([archive(files, {"2/layer.tar": "../1/layer.tar"})], tmp_path)

    assert [path.read_bytes() for path in saved.layers] == [b"layer", b"layer"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it has no manifest.json"),
        ({"manifest.json": b"[]"}, "exactly one image"),
        ({"manifest.json": b"{]"}, "not understood"),
        ({"manifest.json": b'[{"Layers": []}]'}, "not understood"),
        ({"manifest.json": b'[{"Config": "c.json", "Layers": []}]'}, "it has no c.json"),
        ({"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}, "it has no ../../etc/passwd"),
    ],
)
def test_an_archive_without_its_parts_is_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(MalformedArchive, match=reason.replace(".", r"\.")):
        read_archive([archive(files, {})], tmp_path)


def test_a_damaged_layer_is_not_sent(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    manifest = layout.manifest(layout.find())
    blob = layout.blob_path(manifest.layers[1].digest)
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(bytes(len(content)))

    with pytest.raises(WrongBytes):
        list(write_archive(layout, manifest, []))
