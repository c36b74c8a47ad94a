"""Layers stack as the image-spec says, and what one holds survives being remembered."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from builder.elf import read_elf
from builder.host.store import Store
from builder.oci.config import ImageConfig
from builder.oci.descriptor import LAYER_GZIP, LAYER_TAR, Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.oci.verify import WrongBytes
from builder.probe.account import Account, find_account
from builder.probe.cases import NoGoldenCases, UnreadableGolden, carried_cases
from builder.probe.contents import ImageContents, read_contents

Member = tuple[str, bytes | str | None]
"""A path with bytes (a file), text (a link to it), or None (a directory)."""


def tar(members: list[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def image(directory: Path, *layers: list[Member], compressed: bool = False) -> tuple[Layout, Manifest]:
    blobs: dict[Digest, Path] = {}
    descriptors = []
    for members in layers:
        raw = gzip.compress(tar(members), mtime=0) if compressed else tar(members)
        descriptor = Descriptor.of(raw, LAYER_GZIP if compressed else LAYER_TAR)
        blobs[descriptor.digest] = directory / descriptor.digest.hex
        blobs[descriptor.digest].write_bytes(raw)
        descriptors.append(descriptor)
    config = ImageConfig.build(
        platform=Platform(os="linux", architecture="amd64"), created="", settings={}, diff_ids=(), history=()
    )
    manifest = Manifest.build(config=config.descriptor, layers=descriptors)
    layout = Layout(directory / "layout")
    layout.write_image(manifest, config, lambda digest: blobs[digest])
    return layout, manifest


def contents(directory: Path, *layers: list[Member]) -> ImageContents:
    return read_contents(*image(directory, *layers), Store(directory / "store"))


def paths(read: ImageContents) -> list[str]:
    return sorted(str(path) for path in read.files)


def test_a_whiteout_hides_and_an_opaque_directory_empties(tmp_path: Path) -> None:
    lower: list[Member] = [("a", None), ("a/one", b"1"), ("b", None), ("b/two", b"2"), ("c", b"3")]
    upper: list[Member] = [("a/.wh.one", b""), ("b/.wh..wh..opq", b""), ("b/new", b"4"), (".wh.c", b"")]
    assert paths(contents(tmp_path, lower, upper)) == ["/a", "/b", "/b/new"]


def test_a_file_in_place_of_a_directory_takes_what_was_below(tmp_path: Path) -> None:
    read = contents(tmp_path, [("a", None), ("a/one", b"1")], [("a", b"now a file")])
    assert paths(read) == ["/a"]
    assert read.files[PurePosixPath("/a")].layer == 1


def test_a_golden_case_of_an_upper_layer_replaces_the_lower(tmp_path: Path) -> None:
    name = "models/m/golden/one.npz"
    read = contents(tmp_path, [(name, b"old")], [(name, b"new")])
    assert read.kept == {PurePosixPath("/", name): b"new"}
    hidden = contents(tmp_path, [(name, b"old")], [("models/m/golden/.wh.one.npz", b"")])
    assert hidden.kept == {}


def test_links_are_followed_inside_the_image(tmp_path: Path) -> None:
    read = contents(tmp_path, [("lib", "usr/lib"), ("usr/lib/x", b"x"), ("up", "../../lib/x"), ("loop", "loop")])
    found = read.resolve(PurePosixPath("/up"))
    assert found is not None and found.path == PurePosixPath("/usr/lib/x")
    assert read.resolve(PurePosixPath("/loop")) is None
    assert read.resolve(PurePosixPath("/nowhere")) is None


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_remembered_of_a_layer_is_what_was_read(tmp_path: Path, compressed: bool) -> None:
    program = Path(sys.executable).read_bytes()
    members: list[Member] = [
        ("etc/ld.so.conf", b"/opt/lib\n"), ("bin/python", program), ("bin/py", "python"), (".wh.gone", b""),
        ("opt/.wh..wh..opq", b""),
    ]  # fmt: skip
    layout, manifest = image(tmp_path, members, compressed=compressed)
    store = Store(tmp_path / "store")
    first = read_contents(layout, manifest, store)
    layout.blob_path(manifest.layers[0].digest).unlink()
    again = read_contents(layout, manifest, store)
    assert again == first
    facts = again.files[PurePosixPath("/bin/python")].entry.elf
    assert facts is not None and any(name.startswith("libc.") for name in facts.needed)


def test_a_damaged_layer_is_not_believed(tmp_path: Path) -> None:
    layout, manifest = image(tmp_path, [("a", b"right")])
    blob = layout.blob_path(manifest.layers[0].digest)
    raw = blob.read_bytes().replace(b"right", b"wrong")
    blob.unlink()
    blob.write_bytes(raw)
    with pytest.raises(WrongBytes):
        read_contents(layout, manifest, Store(tmp_path / "store"))


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF" + bytes(60), b"#!/bin/sh\n"])
def test_what_is_no_program_has_no_facts(content: bytes) -> None:
    assert read_elf(io.BytesIO(content)) is None


def test_golden_cases_that_are_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(NoGoldenCases):
        carried_cases(contents(tmp_path, [("models/m/mbuild.json", b"{}")]))
    with pytest.raises(UnreadableGolden, match=r"/models/m/golden/one\.npz"):
        carried_cases(contents(tmp_path, [("models/m/golden/one.npz", b"not a zip")]))


def test_a_malformed_tolerance_is_named(tmp_path: Path) -> None:
    import numpy as np

    from builder.model.golden import GoldenCase, write_case

    case = write_case(GoldenCase(name="one", inputs={"x": np.ones(1)}, outputs={"y": np.ones(1)}))
    golden: Member = ("models/m/golden/one.npz", case)
    with pytest.raises(UnreadableGolden, match=r"mbuild\.json"):
        carried_cases(contents(tmp_path, [golden, ("models/m/mbuild.json", b'{"tolerance": 1}')]))
    tolerance = {"absolute": 0.5, "relative": 0.0, "outputs": {"y": {"absolute": 1.0, "relative": 2.0}}}
    described = json.dumps({"tolerance": tolerance}).encode()
    (model,) = carried_cases(contents(tmp_path, [golden, ("models/m/mbuild.json", described)]))
    assert (model.tolerances.of("x").absolute, model.tolerances.of("y").relative) == (0.5, 2.0)


def test_accounts(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:\nserver:x:10001:20:::\nbroken\n")
    assert find_account("", tmp_path) == Account(uid=0, gid=0, home="/root")
    assert find_account("server", tmp_path) == Account(uid=10001, gid=20, home="/")
    assert find_account("10001:7", tmp_path) == Account(uid=10001, gid=7, home="/")
    assert find_account("5:6", tmp_path) == Account(uid=5, gid=6, home="/")
    (tmp_path / "etc/passwd").unlink()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd")
    assert find_account("0", tmp_path) == Account(uid=0, gid=0, home="/")
