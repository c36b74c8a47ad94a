"""Are all shared libraries in the image that its programs and extension modules ask the loader for (ld.so(8))?

Searched as glibc does, but for ``$LIB`` and ``$PLATFORM``: LD_LIBRARY_PATH, the file's own RUNPATH or RPATH with
``$ORIGIN``, without a RUNPATH also the RPATHs of whatever loads it, ``/etc/ld.so.conf``, the default directories. A
name that any file of the image has loaded before would also do; such plugins are named in ``OPTIONAL_PLUGINS``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.elf import ElfFacts
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform
from builder.probe.contents import ImageContents
from builder.probe.layer_contents import LayerFile

DRIVER_LIBRARIES = frozenset({"libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1", "libnvcuvid.so.1"})
"""Libraries of the GPU driver: the container toolkit brings them at run time, an image never has them."""

OPTIONAL_PLUGINS = frozenset({"libonnxruntime_providers_tensorrt.so"})
"""Files that are loaded on demand only, by whoever has what they need."""

_ARCHITECTURES = {"amd64": ("EM_X86_64", "x86_64-linux-gnu"), "arm64": ("EM_AARCH64", "aarch64-linux-gnu")}


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryProblem:
    """``file`` (in layer ``layer``) cannot be loaded; ``problem`` is a phrase such as "needs libfoo.so.1"."""

    file: PurePosixPath
    layer: int
    problem: str


def library_problems(
    contents: ImageContents, platform: Platform, library_path: str, allowed: frozenset[str] = DRIVER_LIBRARIES
) -> tuple[LibraryProblem, ...]:
    """Every program and shared object that the loader could not load; ``library_path`` is LD_LIBRARY_PATH."""
    machine, triplet = _ARCHITECTURES.get(platform.architecture, ("", ""))
    directories = [*_paths(library_path), *_configured(contents), *_defaults(triplet)]
    inherited = _inherited(contents, directories)
    found = []
    for file in contents.files.values():
        path, elf = file.entry.path, file.entry.elf
        if elf is None or path.name in OPTIONAL_PLUGINS:
            continue
        searched = [*_search(path, elf), *inherited.get(path, ()), *directories]
        for problem in _problems(contents, elf, machine, searched, allowed):
            found.append(LibraryProblem(file=path, layer=file.layer, problem=problem))
    return tuple(sorted(found, key=lambda item: (item.file, item.problem)))


def _search(path: PurePosixPath, elf: ElfFacts) -> list[PurePosixPath]:
    return [_expanded(entry, path.parent) for entry in elf.search]


def _inherited(
    contents: ImageContents, directories: list[PurePosixPath]
) -> dict[PurePosixPath, tuple[PurePosixPath, ...]]:
    """For each library without a RUNPATH, the RPATHs of what loads it, from the nearest to the program."""
    passed: dict[PurePosixPath, tuple[PurePosixPath, ...]] = {}
    waiting = [
        (file.entry.path, file.entry.elf, tuple(_search(file.entry.path, file.entry.elf)))
        for file in contents.files.values()
        if file.entry.elf and file.entry.elf.is_rpath
    ]
    while waiting:
        path, elf, handed = waiting.pop()
        for name in elf.needed:
            places = [*_search(path, elf), *passed.get(path, ()), *handed, *directories]
            library = next((file for place in places if (file := _library(contents, place / name))), None)
            if library is None or library.elf is None:
                continue
            known = passed.get(library.path, ())
            more = tuple(place for place in handed if place not in known)
            if more:
                passed[library.path] = (*known, *more)
                waiting.append((library.path, library.elf, handed))
    return {path: handed for path, handed in passed.items() if not _has_runpath(contents, path)}


def _has_runpath(contents: ImageContents, path: PurePosixPath) -> bool:
    elf = contents.files[path].entry.elf
    return elf is not None and bool(elf.search) and not elf.is_rpath


def _library(contents: ImageContents, path: PurePosixPath) -> LayerFile | None:
    found = contents.resolve(path)
    return found if found is not None and found.kind is EntryKind.FILE else None


def _problems(
    contents: ImageContents,
    elf: ElfFacts,
    machine: str,
    directories: list[PurePosixPath],
    allowed: frozenset[str],
) -> Iterator[str]:
    if machine and elf.machine != machine:
        yield f"is built for {elf.machine}, not for {machine}"
        return
    if elf.interpreter and not _library(contents, PurePosixPath(elf.interpreter)):
        yield f"needs the loader {elf.interpreter}"
    for name in elf.needed:
        places = [PurePosixPath(name)] if "/" in name else [place / name for place in directories]
        if name not in allowed and not any(_library(contents, place) for place in places):
            yield f"needs {name}"


def _expanded(entry: str, origin: PurePosixPath) -> PurePosixPath:
    return PurePosixPath(entry.replace("${ORIGIN}", str(origin)).replace("$ORIGIN", str(origin)))


def _paths(text: str) -> list[PurePosixPath]:
    return [PurePosixPath(part) for part in text.split(":") if part.startswith("/")]


def _configured(contents: ImageContents) -> list[PurePosixPath]:
    """The directories that ldconfig would put into its cache (ldconfig(8))."""
    texts = [raw.decode(errors="replace") for path, raw in sorted(contents.kept.items()) if path.suffix == ".conf"]
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return [PurePosixPath(line) for line in lines if line.startswith("/")]


def _defaults(triplet: str) -> list[PurePosixPath]:
    names = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    return [PurePosixPath(name) for name in (*names, "/lib64", "/usr/lib64", "/lib", "/usr/lib")]
