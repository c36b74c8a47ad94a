"""The programs and libraries of a root filesystem as frozen values, and how links lead from one path to another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from builder.elf.facts import ElfFacts
from builder.elf.loader_cache import search_key

MACHINES = {"amd64": "EM_X86_64", "arm64": "EM_AARCH64"}
"""By architecture (OCI), the machine of an ELF file."""

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
"""By architecture, Debian's name for the directory of its libraries."""

_ROOT = PurePosixPath("/")
_MOST_LINKS = 40
_LISTED = re.compile(r"(lib|ld-).*\.so|ld(64)?\.so\.")


def follow(path: PurePosixPath, link_at: Callable[[PurePosixPath], str | None]) -> PurePosixPath | None:
    """Where ``path`` leads to inside a root (path_resolution(7)): ``link_at`` is the target of a symbolic link, None
    for any other path. None where there are too many links; what it leads to need not be there."""
    place, left, links = _ROOT, list(path.parts[1:]), 0
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            place = place.parent if part == ".." else place
            continue
        target = link_at(place / part)
        if target is None:
            place = place / part
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        parts = PurePosixPath(target).parts
        left[:0] = parts[1:] if target.startswith("/") else parts
        place = _ROOT if target.startswith("/") else place
    return place


@dataclass(frozen=True, kw_only=True)
class LibraryTree:
    """``elves``: the ELF files by their real paths; ``links``: the symbolic links (also of directories) and their
    targets. Other files do not matter here."""

    elves: Mapping[PurePosixPath, ElfFacts]
    links: Mapping[PurePosixPath, str] = field(default_factory=dict)

    def find(self, path: PurePosixPath) -> PurePosixPath | None:
        """The real path of the ELF file at ``path``; None where there is none."""
        real = path if path in self.elves else follow(path, self.links.get)
        return real if real in self.elves else None

    def names(self, directory: PurePosixPath) -> tuple[str, ...]:
        """The files and links in a directory, itself reached through links or not."""
        return self._names.get(follow(directory, self.links.get) or directory, ())

    @cached_property
    def _names(self) -> Mapping[PurePosixPath, tuple[str, ...]]:
        found: dict[PurePosixPath, list[str]] = {}
        for path in sorted([*self.elves, *self.links]):
            found.setdefault(path.parent, []).append(path.name)
        return {directory: tuple(names) for directory, names in found.items()}


def default_directories(architecture: str) -> tuple[PurePosixPath, ...]:
    """Where Debian's loader looks last, with or without a cache (ld.so(8))."""
    triplet = TRIPLETS.get(architecture)
    names = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    return tuple(PurePosixPath(name) for name in (*names, "/lib64", "/usr/lib64", "/lib", "/usr/lib"))


def configured_directories(texts: Iterable[str]) -> tuple[PurePosixPath, ...]:
    """The directories that ``/etc/ld.so.conf`` and the files it includes name, in their order (ldconfig(8))."""
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return tuple(dict.fromkeys(PurePosixPath(line) for line in lines if line.startswith("/")))


def libraries_in(
    directories: Iterable[PurePosixPath], tree: LibraryTree, architecture: str
) -> Iterator[tuple[str, PurePosixPath]]:
    """(soname, path) of each library that ``ldconfig`` would enter into the loader's cache for these directories, in
    their order: by its SONAME, else by its name, and by the name of a link that ends in ``.so``."""
    seen = set()
    for directory in directories:
        real = follow(directory, tree.links.get)
        if real in seen:
            continue
        seen.add(real)
        for soname, name in _entered(directory, tree, architecture).items():
            yield soname, directory / (soname if tree.find(directory / soname) else name)


def _entered(directory: PurePosixPath, tree: LibraryTree, architecture: str) -> dict[str, str]:
    """File names by the names under which they are entered; of two files for one, the newer."""
    chosen = {}
    for name in sorted(tree.names(directory), key=search_key):
        real = tree.find(directory / name) if _LISTED.match(name) else None
        if real and tree.elves[real].machine == MACHINES[architecture]:
            soname = tree.elves[real].soname or name
            is_for_linker = name.endswith(".so") and name != real.name and soname.startswith(name)
            chosen[name if is_for_linker else soname] = name
    return chosen
