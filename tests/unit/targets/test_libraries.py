"""Parts of GPU libraries out of wheels, and what goes with them."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from builder.elf.loader_cache import PLACE, CachedLibrary, read_loader_cache
from builder.host import Host
from builder.host.trees import StagedTree
from builder.oci.content import Deflated
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform
from builder.plan.gpu import GpuLibraries, LibraryPart
from builder.plan.layering import plan_layers
from builder.plan.wheel import LockedWheel
from builder.targets.libraries import (
    CONFIGURED,
    FACTS,
    LOADER,
    ChosenLibraries,
    FileInNoPart,
    PartNotInWheel,
    require_placed,
    stage_parts,
)
from tests.support.hosts import real_host
from tests.support.wheels import make_wheel, stored_wheel

AMD64 = Platform.parse("linux/amd64")
PREFIX = PurePosixPath("/opt/runtime")
HOME = "nvidia/cu13/lib"
GPU = GpuLibraries(
    provider="CUDAExecutionProvider",
    runtime="onnxruntime-gpu==1.28.0",
    cuda="13.0",
    driver="580.65.06",
    capabilities=("7.5", "9.0"),
    ptx="9.0",
    wheels=("blas==1.0", "dnn==1.0"),
    parts=(
        LibraryPart(name="blas", wheel="blas", files=(f"{HOME}/libblas.so.13",), why="products"),
        LibraryPart(name="dnn", wheel="dnn", files=(f"{HOME}/libdnn.so.9",), why="the door"),
        LibraryPart(name="dnn-cnn", wheel="dnn", files=(f"{HOME}/libdnn_cnn.so.9",), why="convolutions"),
    ),
    drop={"nvidia/**/include/**": "headers"},
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path)


@pytest.fixture
def wheels(host: Host) -> tuple[LockedWheel, ...]:
    blas = {f"{HOME}/libblas.so.13": b"blas", f"{HOME}/libnvblas.so.13": b"no", "nvidia/cu13/include/blas.h": b"no"}
    dnn = {f"{HOME}/libdnn.so.9": b"door", f"{HOME}/libdnn_cnn.so.9": b"cnn"}
    return tuple(
        stored_wheel(host.store, make_wheel(name, files=files), name) for name, files in (("blas", blas), ("dnn", dnn))
    )


def stage(
    gpu: GpuLibraries, wheels: tuple[LockedWheel, ...], reasons: dict[str, str], host: Host
) -> dict[str, StagedTree]:
    chosen = ChosenLibraries(base="mine", gpu=gpu, wheels=wheels, reasons=reasons, platform=AMD64)
    return stage_parts(chosen, PREFIX, host)


def entered(loader: StagedTree) -> tuple[CachedLibrary, ...]:
    (cache,) = [entry.digest for entry in loader.entries if entry.path == PLACE]
    assert cache is not None
    with loader.open(cache) as stream:
        return read_loader_cache(stream.read())


def test_only_the_parts_that_are_asked_for_are_there(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    trees = stage(GPU, wheels, {"blas": "always", "dnn": "Pool"}, host)
    assert list(trees) == ["blas", "dnn", LOADER]
    assert [str(entry.path) for entry in trees["blas"].entries] == [f"{PREFIX}/{HOME}/libblas.so.13"]
    paths = {str(entry.path) for tree in trees.values() for entry in tree.entries}
    assert f"{PREFIX}/{HOME}/libdnn_cnn.so.9" not in paths
    assert f"{PREFIX}/{HOME}/libnvblas.so.13" not in paths


def test_further_names_of_a_library_are_links_in_its_layer(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    link = (f"{HOME}/libdnn.so", "libdnn.so.9")
    parts = tuple(dataclasses.replace(part, links=(link,) if part.name == "dnn" else ()) for part in GPU.parts)
    reasons = {"blas": "always", "dnn": "Pool"}
    trees = stage(dataclasses.replace(GPU, parts=parts), wheels, reasons, host)
    (made,) = [entry for entry in trees["dnn"].entries if entry.kind is EntryKind.SYMLINK]
    assert (str(made.path), made.target) == (f"{PREFIX}/{HOME}/libdnn.so", "libdnn.so.9")
    found = {entry.soname: str(entry.path) for entry in entered(trees[LOADER])}
    assert found["libdnn.so"] == f"{PREFIX}/{HOME}/libdnn.so"
    without = stage(GPU, wheels, reasons, host)
    assert without["blas"].entries == trees["blas"].entries
    assert [entry for entry in without["dnn"].entries if entry.kind is EntryKind.SYMLINK] == []


def test_the_loaders_cache_has_libraries_alone(host: Host) -> None:
    files = {f"{HOME}/libblas.so.13.1": b"blas", f"{HOME}/NOTICE.txt": b"whose it is"}
    wheel = stored_wheel(host.store, make_wheel("blas", files=files), "blas")
    part = LibraryPart(name="blas", wheel="blas", files=tuple(files), why="")
    trees = stage(dataclasses.replace(GPU, parts=(part,)), (wheel,), {"blas": "always"}, host)
    assert [entry.soname for entry in entered(trees[LOADER])] == ["libblas.so.13.1"]


def test_a_part_is_more_than_links(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    part = LibraryPart(name="blas", wheel="blas", files=("nvidia/other.so",), why="", links=((f"{HOME}/a.so", "b"),))
    with pytest.raises(PartNotInWheel):
        stage(dataclasses.replace(GPU, parts=(part,)), wheels, {"blas": "always"}, host)


def test_the_record_lists_what_is_really_there(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    loader = stage(GPU, wheels, {"blas": "always", "dnn": "Pool"}, host)[LOADER]
    files = {str(entry.path): entry.digest for entry in loader.entries if entry.kind is EntryKind.FILE}
    with loader.open(files[f"{PREFIX}/dnn-1.0.dist-info/RECORD"]) as stream:  # type: ignore[arg-type]
        record = [line.split(",")[0] for line in stream.read().decode().splitlines()]
    assert record == [
        "dnn-1.0.dist-info/INSTALLER",
        "dnn-1.0.dist-info/METADATA",
        "dnn-1.0.dist-info/RECORD",
        "dnn-1.0.dist-info/WHEEL",
        f"{HOME}/libdnn.so.9",
    ]


def test_an_image_can_tell_what_it_is_and_where_its_libraries_lie(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    loader = stage(GPU, wheels, {"blas": "always"}, host)[LOADER]
    digests = {entry.path: entry.digest for entry in loader.entries if entry.digest}
    with loader.open(digests[FACTS]) as stream:
        facts = json.load(stream)
    assert facts == GPU.described("mine", {"blas": "always"})
    with loader.open(digests[CONFIGURED]) as stream:
        assert stream.read() == f"{PREFIX}/{HOME}\n".encode()
    with loader.open(digests[PLACE]) as stream:
        (cached,) = read_loader_cache(stream.read())
    assert (cached.soname, str(cached.path)) == ("libblas.so.13", f"{PREFIX}/{HOME}/libblas.so.13")


def test_what_a_base_has_is_not_added_again(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    there = (("libblas.so.13", PurePosixPath("/usr/local/cuda/lib64/libblas.so.13")),)
    reasons = {"blas": "always", "dnn": "Pool"}
    chosen = ChosenLibraries(
        base="mine", gpu=GPU, wheels=wheels, reasons=reasons, platform=AMD64, present=there, configures=False
    )
    trees = stage_parts(chosen, PREFIX, host)
    assert list(trees) == ["dnn", LOADER]
    digests = {entry.path: entry.digest for entry in trees[LOADER].entries if entry.digest}
    assert PurePosixPath("/etc/ld.so.conf") not in digests
    with trees[LOADER].open(digests[PLACE]) as stream:
        found = {entry.soname: str(entry.path) for entry in read_loader_cache(stream.read())}
    assert found == {"libblas.so.13": str(there[0][1]), "libdnn.so.9": f"{PREFIX}/{HOME}/libdnn.so.9"}
    with trees[LOADER].open(digests[FACTS]) as stream:
        assert json.load(stream)["parts"] == reasons


def test_a_layer_of_a_part_depends_on_nothing_else(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    def keys(**reasons: str) -> dict[str, str]:
        trees = stage(GPU, wheels, reasons, host)
        layers = plan_layers({}, {}, {name: tree.entries for name, tree in trees.items()})
        assert [layer.part for layer in layers] == list(trees)
        return {layer.part: layer.key for layer in layers}

    small, large = keys(blas="always"), keys(blas="for another reason", dnn="Pool")
    assert small["blas"] == large["blas"]
    assert small[LOADER] != large[LOADER]


def test_a_part_without_files_is_an_error_of_the_base(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    part = LibraryPart(name="blas", wheel="blas", files=("nvidia/other.so",), why="products")
    with pytest.raises(PartNotInWheel, match=r"nvidia/other\.so"):
        stage(dataclasses.replace(GPU, parts=(part,)), wheels, {"blas": "always"}, host)


def test_a_file_that_nobody_thought_of_is_told(host: Host, wheels: tuple[LockedWheel, ...]) -> None:
    with pytest.raises(FileInNoPart, match=rf"no part has {HOME}/libnvblas\.so\.13, and"):
        require_placed("mine", GPU, wheels, host)
    drop = {**GPU.drop, "nvidia/**/libnvblas.so.*": "for others"}
    require_placed("mine", dataclasses.replace(GPU, drop=drop), wheels, host)


def test_a_large_library_stays_in_its_wheel(host: Host) -> None:
    library = bytes(2 << 20)
    content = make_wheel("blas", files={f"{HOME}/libblas.so.13": library}, compression=zipfile.ZIP_DEFLATED)
    tree = stage(GPU, (stored_wheel(host.store, content, "blas"),), {"blas": "always"}, host)["blas"]
    (entry,) = tree.entries
    assert entry.digest == Digest.of(library)
    assert isinstance(tree.files[entry.digest], Deflated)
    with tree.open(entry.digest) as stream:
        assert stream.read() == library
