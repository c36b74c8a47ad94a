"""Our loader cache against glibc's own programs: the bytes of ldconfig, and a program that finds a library by it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path, PurePosixPath

import pytest

from builder.elf import read_elf
from builder.elf.loader_cache import loader_cache, read_loader_cache
from builder.elf.tree import LibraryTree, configured_directories, libraries_in

LDCONFIG = shutil.which("ldconfig", path="/usr/sbin:/sbin")
TRIPLET = {"linux-x86_64": "x86_64-linux-gnu", "linux-aarch64": "aarch64-linux-gnu"}.get(sysconfig.get_platform(), "")
ARCHITECTURE = {"linux-x86_64": "amd64", "linux-aarch64": "arm64"}.get(sysconfig.get_platform(), "")
SYSTEM = Path("/usr/lib", TRIPLET)
OFFSET_OF_EXTENSION = 32
"""Where a cache's header says where its last section is, in which ldconfig tells its own version."""

needs_ldconfig = pytest.mark.skipif(not LDCONFIG or not ARCHITECTURE, reason="no ldconfig, or not Debian's directories")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root directory with real libraries in two directories of ld.so.conf, and the cache that ldconfig makes."""
    root = tmp_path_factory.mktemp("root")
    libraries = sorted(path for path in SYSTEM.glob("lib*.so.*") if path.stat().st_size < 200_000)
    for number, path in enumerate(libraries[:120]):
        place = root / ("opt/one", "opt/two")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.resolve().name)
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text("/opt/two\n/opt/one\n")
    assert LDCONFIG
    subprocess.run([LDCONFIG, "-r", str(root)], check=True, capture_output=True)
    return root


@needs_ldconfig
def test_the_bytes_are_those_of_ldconfig(root: Path) -> None:
    theirs = bytearray((root / "etc/ld.so.cache").read_bytes())
    listed = [(library.soname, library.path) for library in read_loader_cache(bytes(theirs))]
    assert len(listed) > 20 and {str(path.parent) for _, path in listed} == {"/opt/one", "/opt/two"}
    in_order = sorted(listed, key=lambda pair: pair[1].parent.name == "one")
    ours = loader_cache(in_order, ARCHITECTURE)
    struct.pack_into("<I", theirs, OFFSET_OF_EXTENSION, 0)
    assert ours == theirs[: len(ours)]
    assert theirs[len(ours) :].lstrip(b"\0").startswith(struct.pack("<i", -358342284))


@needs_ldconfig
def test_ldconfig_enters_the_same_libraries(root: Path) -> None:
    elves, links = {}, {}
    for path in sorted((root / "opt").rglob("*")):
        place = PurePosixPath("/", path.relative_to(root))
        if path.is_symlink():
            links[place] = str(path.readlink())
        elif path.is_file() and (facts := read_elf(path.open("rb"))):
            elves[place] = facts
    assert links, "ldconfig has made links to SONAMEs"
    tree, theirs = LibraryTree(elves=elves, links=links), (root / "etc/ld.so.cache").read_bytes()
    directories = configured_directories([(root / "etc/ld.so.conf").read_text()])
    pairs = list(libraries_in(directories, tree, ARCHITECTURE))
    assert sorted(pairs) == sorted((library.soname, library.path) for library in read_loader_cache(theirs))
    ours = loader_cache(pairs, ARCHITECTURE)
    assert ours[OFFSET_OF_EXTENSION + 4 :] == theirs[OFFSET_OF_EXTENSION + 4 : len(ours)]


@needs_ldconfig
def test_ldconfig_prints_what_was_written(tmp_path: Path) -> None:
    names = ("libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13", "libcufft.so.9", "libcufft.so.12")
    cache = tmp_path / "cache"
    cache.write_bytes(loader_cache([(name, PurePosixPath("/opt", name)) for name in names], ARCHITECTURE))
    assert LDCONFIG
    printed = subprocess.run([LDCONFIG, "-p", "-C", str(cache)], check=True, capture_output=True, text=True).stdout
    for name in names:
        assert any(line.split()[0] == name and line.endswith(f"=> /opt/{name}") for line in printed.splitlines()[1:])


@pytest.mark.skipif(not shutil.which("bwrap") or not ARCHITECTURE, reason="no bwrap, or not Debian's directories")
def test_a_program_finds_a_library_by_it(tmp_path: Path) -> None:
    """In a namespace of its own whose /etc/ld.so.cache is ours, among names that are searched with it."""
    wanted = "libmbuild-proof.so.3"
    library = tmp_path / "place" / wanted
    library.parent.mkdir()
    shutil.copy(SYSTEM / "libm.so.6", library)
    others = [(f"lib{name}.so.{number}", PurePosixPath("/no", name)) for name in "anz" for number in (1, 9, 10)]
    cache = tmp_path / "cache"
    cache.write_bytes(loader_cache([*others, (wanted, PurePosixPath(library))], ARCHITECTURE))
    script = f"import ctypes; print(ctypes.CDLL({wanted!r}).abs(-7))"
    command = [sys.executable, "-I", "-c", script]
    inside = ["bwrap", "--bind", "/", "/", "--ro-bind", str(cache), "/etc/ld.so.cache", "--", *command]
    without = subprocess.run(command, capture_output=True, text=True)
    assert without.returncode == 1 and "cannot open shared object file" in without.stderr
    with_cache = subprocess.run(inside, capture_output=True, text=True)
    assert with_cache.returncode == 0, with_cache.stderr
    assert with_cache.stdout == "7\n"
