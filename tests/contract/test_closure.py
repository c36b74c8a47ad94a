"""Our closure check against glibc's own loader, over a tree from which one library after the other is taken."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path, PurePosixPath

import pytest

from builder.elf import read_elf
from builder.elf.closure import Closure
from builder.elf.tree import LibraryTree
from tests.support.elves import Library

ARCHITECTURE = {"linux-x86_64": "amd64", "linux-aarch64": "arm64"}.get(sysconfig.get_platform(), "")

LIBRARIES = {
    "app/provider.so": Library(
        needed=("libblas.so.1", "libdnn.so.9"), runpath="$ORIGIN/../lib", wants={("libblas.so.1", "BLAS_1"): ("mul",)}
    ),
    "lib/libblas.so.1": Library(
        soname="libblas.so.1", needed=("libblasLt.so.1",), runpath="$ORIGIN", offers={"BLAS_1": ("mul",)}
    ),
    "lib/libblasLt.so.1": Library(soname="libblasLt.so.1"),
    "lib/libdnn.so.9": Library(soname="libdnn.so.9", needed=("libgraph.so.9",), rpath="$ORIGIN/dnn"),
    "lib/dnn/libgraph.so.9": Library(soname="libgraph.so.9", needed=("libdeep.so.1",)),
    "lib/dnn/libdeep.so.1": Library(soname="libdeep.so.1"),
}
PROVIDER = "app/provider.so"

pytestmark = pytest.mark.skipif(not ARCHITECTURE, reason="no machine that images are made for")


def write(root: Path, libraries: dict[str, Library]) -> None:
    for name, library in libraries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Library(**{**vars(library), "architecture": ARCHITECTURE}).to_bytes())


def loads(root: Path) -> str:
    """What the loader says to the provider: nothing where it takes it."""
    script = f"import ctypes; ctypes.CDLL({str(root / PROVIDER)!r})"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    return done.stderr.splitlines()[-1] if done.returncode else ""


def told(root: Path) -> list[str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    elves = {PurePosixPath(path): facts for path in files if (facts := read_elf(path.open("rb")))}
    closure = Closure(tree=LibraryTree(elves=elves), architecture=ARCHITECTURE)
    return [f"{problem.file.name} {problem.text}" for problem in closure.problems()]


def test_a_whole_tree_loads(tmp_path: Path) -> None:
    write(tmp_path, LIBRARIES)
    assert (loads(tmp_path), told(tmp_path)) == ("", [])


@pytest.mark.parametrize("gone", [name for name in LIBRARIES if name != PROVIDER])
def test_what_the_loader_misses_is_told_with_who_needs_it(tmp_path: Path, gone: str) -> None:
    write(tmp_path, {name: library for name, library in LIBRARIES.items() if name != gone})
    missing = gone.rpartition("/")[2]
    (needing,) = [name.rpartition("/")[2] for name, library in LIBRARIES.items() if missing in library.needed]
    assert f"{missing}: cannot open shared object file" in loads(tmp_path)
    assert f"{needing} needs {missing}" in told(tmp_path)


def test_a_version_that_the_loader_misses_is_told(tmp_path: Path) -> None:
    write(tmp_path, {**LIBRARIES, "lib/libblas.so.1": Library(soname="libblas.so.1", offers={"BLAS_0": ("mul",)})})
    assert "version `BLAS_1' not found" in loads(tmp_path)
    library = tmp_path / "lib/libblas.so.1"
    assert told(tmp_path) == [f"provider.so needs BLAS_1 of libblas.so.1, which {library} does not define"]


def test_a_library_without_versions_is_taken(tmp_path: Path) -> None:
    write(tmp_path, {**LIBRARIES, "lib/libblas.so.1": Library(soname="libblas.so.1")})
    assert (loads(tmp_path), told(tmp_path)) == ("", [])


def test_a_runpath_does_not_help_what_comes_with_the_file(tmp_path: Path) -> None:
    by_runpath = Library(soname="libdnn.so.9", needed=("libgraph.so.9",), runpath="$ORIGIN/dnn")
    write(tmp_path, {**LIBRARIES, "lib/libdnn.so.9": by_runpath})
    assert "libdeep.so.1: cannot open shared object file" in loads(tmp_path)
    there = tmp_path / "lib/dnn/libdeep.so.1"
    assert told(tmp_path) == [
        f"libgraph.so.9 needs libdeep.so.1 (there is {there}, where the loader does not look for it)"
    ]
