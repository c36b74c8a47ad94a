"""Unpacking: layers stack as an engine stacks them, and no layer reaches outside of the destination."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import IntegrityError
from builder.oci.config import ImageConfig
from builder.oci.descriptor import LAYER_TAR, Descriptor
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.oci.tar_reader import UnsafeLayer
from builder.oci.unpack import unpack_file, unpack_layers

Member = tuple[str, bytes, int, str]
"""Name, tar type, mode, and the content of a file or the target of a link."""


def file(name: str, content: str = "", mode: int = 0o644) -> Member:
    return name, tarfile.REGTYPE, mode, content


def folder(name: str, mode: int = 0o755) -> Member:
    return name, tarfile.DIRTYPE, mode, ""


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return name, kind, 0o777, target


def unpack(directory: Path, *layers: list[Member]) -> Path:
    layout = Layout(directory / "layout")
    blobs = directory / "blobs"
    blobs.mkdir()
    descriptors = []
    for members in layers:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, kind, mode, content in members:
                member = tarfile.TarInfo(name)
                member.type, member.mode, member.uid = kind, mode, 12345
                data = content.encode() if kind == tarfile.REGTYPE else b""
                member.size, member.linkname = len(data), "" if data else content
                archive.addfile(member, io.BytesIO(data))
        descriptor = Descriptor.of(out.getvalue(), LAYER_TAR)
        (blobs / descriptor.digest.hex).write_bytes(out.getvalue())
        descriptors.append(descriptor)
    config = ImageConfig.build(
        platform=Platform(os="linux", architecture="amd64"),
        created="2026-01-01T00:00:00Z",
        settings={},
        diff_ids=[descriptor.digest for descriptor in descriptors],
        history=[],
    )
    manifest = Manifest.build(config=config.descriptor, layers=descriptors)
    layout.write_image(manifest, config, lambda digest: blobs / digest.hex)
    destination = directory / "root"
    destination.mkdir()
    unpack_layers(layout, manifest.layers, destination)
    return destination


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.fixture(params=[0o022, 0o077], autouse=True)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_files_links_and_modes(tmp_path: Path) -> None:
    root = unpack(
        tmp_path,
        [
            folder("tmp", 0o1777),
            folder("etc"),
            file("etc/one", "1", 0o600),
            file("bin/run", "#", 0o4755),
            link("etc/soft", "/etc/one"),
            link("etc/hard", "etc/one", tarfile.LNKTYPE),
            link("dev/null", "", tarfile.CHRTYPE),
        ],
    )

    assert (root / "etc/one").read_text() == (root / "etc/hard").read_text() == "1"
    assert (root / "etc/soft").readlink() == Path("/etc/one")
    modes = {name: (root / name).stat().st_mode & 0o7777 for name in (".", "tmp", "etc", "bin", "etc/one", "bin/run")}
    assert modes == {".": 0o755, "tmp": 0o1777, "etc": 0o755, "bin": 0o755, "etc/one": 0o600, "bin/run": 0o755}
    assert (root / "etc/one").stat().st_uid == os.getuid()
    assert not (root / "dev/null").exists()


def test_upper_layers_replace_and_hide(tmp_path: Path) -> None:
    root = unpack(
        tmp_path,
        [file("a/old", "old"), file("a/kept", "kept"), file("b/x"), file("b/deep/y"), file("c", "file")],
        [file("a/.wh.old"), file("a/new", "new"), file("b/.wh..wh..opq"), file("b/z"), folder("c"), file("c/in")],
        [file("a/kept", "replaced"), file(".wh.c")],
    )

    assert names(root) == {"a", "a/kept", "a/new", "b", "b/z"}
    assert (root / "a/kept").read_text() == "replaced"


def test_a_directory_that_only_a_lower_layer_describes_keeps_its_mode(tmp_path: Path) -> None:
    root = unpack(tmp_path, [folder("home", 0o750), folder("tmp", 0o1777)], [file("home/new"), folder("tmp", 0o700)])

    assert (root / "home").stat().st_mode & 0o7777 == 0o750
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o700


def test_a_file_below_a_link_goes_where_the_link_leads_inside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    root = unpack(
        tmp_path,
        [folder("usr/bin"), link("bin", "usr/bin"), link("abs", str(outside)), link("up", "../../../outside")],
        [file("bin/tool", "t"), file("abs/captured", "c"), file("up/captured", "c")],
    )

    assert (root / "usr/bin/tool").read_text() == "t"
    assert (root / "bin").is_symlink()
    assert list(outside.iterdir()) == []
    assert (root / outside.relative_to("/") / "captured").read_text() == "c"
    assert (root / "outside/captured").read_text() == "c"


def test_a_directory_takes_the_place_of_a_link(tmp_path: Path) -> None:
    root = unpack(tmp_path, [folder("real"), link("name", "real")], [folder("name"), file("name/in")])

    assert names(root) == {"real", "name", "name/in"}


@pytest.mark.parametrize(
    "members",
    [
        [file("../escape", "x")],
        [file("a/../../escape", "x")],
        [link("hard", "../secret", tarfile.LNKTYPE)],
        [link("soft", "/etc"), link("hard", "soft/hostname", tarfile.LNKTYPE)],
        [link("a", "b"), link("b", "a"), file("a/x")],
    ],
)
def test_a_layer_that_leads_out_is_refused(tmp_path: Path, members: list[Member]) -> None:
    (tmp_path / "secret").write_text("secret")

    with pytest.raises(UnsafeLayer):
        unpack(tmp_path, members)

    assert not (tmp_path / "escape").exists()


def test_a_damaged_layer_is_refused(tmp_path: Path) -> None:
    unpack(tmp_path, [file("a", "content")])
    layout = Layout(tmp_path / "layout")
    manifest = layout.manifest(layout.find())
    blob = layout.blob_path(manifest.layers[0].digest)
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(content.replace(b"content", b"CONTENT"))

    with pytest.raises(IntegrityError):
        unpack_layers(layout, manifest.layers, tmp_path / "again")


def stored_file(directory: Path) -> tuple[Layout, Descriptor]:
    blob = Descriptor.of(b"weights", "application/vnd.cncf.model.weight.v1.raw")
    layout = Layout(directory / "layout")
    layout.blob_path(blob.digest).parent.mkdir(parents=True)
    layout.blob_path(blob.digest).write_bytes(b"weights")
    return layout, blob


def test_a_blob_that_is_a_file_of_several_names(tmp_path: Path) -> None:
    layout, blob = stored_file(tmp_path)
    (tmp_path / "out").mkdir()
    unpack_layers(layout, [blob, blob], tmp_path / "out", ["model.onnx", "deep/er/copy.onnx"])
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"model.onnx", "deep/er/copy.onnx"}
    assert (tmp_path / "out/deep/er/copy.onnx").read_bytes() == b"weights"
    assert (tmp_path / "out/model.onnx").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["../outside", "/", ".", "a/../../outside", "a\0b"])
def test_a_file_stays_inside_and_has_a_name(tmp_path: Path, name: str) -> None:
    layout, blob = stored_file(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(UnsafeLayer):
        unpack_file(layout, blob, name, tmp_path / "out")
    assert not (tmp_path / "outside").exists()
