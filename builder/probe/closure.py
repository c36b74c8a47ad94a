"""Are all shared libraries in the image that its programs and extension modules ask the loader for, in the versions
that they ask for, and does the loader's cache say what is there?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.elf.closure import Closure
from builder.elf.cuda import optional_plugins
from builder.elf.loader_cache import PLACE, BrokenLoaderCache, CachedLibrary, read_loader_cache
from builder.elf.tree import LibraryTree, configured_directories, default_directories, libraries_in
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform
from builder.probe.contents import ImageContents
from builder.probe.gpu import provider_of


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryProblem:
    """``file`` (in layer ``layer``) cannot be loaded; ``problem`` is a phrase such as "needs libfoo.so.1"."""

    file: PurePosixPath
    layer: int
    problem: str


def library_problems(contents: ImageContents, platform: Platform, library_path: str) -> tuple[LibraryProblem, ...]:
    """Every program and shared object that the loader could not load; ``library_path`` is LD_LIBRARY_PATH."""
    entries, problems = _cache(contents)
    closure = image_closure(contents, platform, library_path)
    problems += _stale(contents, closure, entries)
    problems += [(problem.file, problem.text) for problem in closure.problems()]
    return tuple(
        LibraryProblem(file=file, layer=contents.files[file].layer, problem=text) for file, text in sorted(problems)
    )


def image_closure(contents: ImageContents, platform: Platform, library_path: str) -> Closure:
    """The image as its loader sees it."""
    entries, _ = _cache(contents)
    own = [entry for entry in reversed(entries) if entry.is_for(platform.architecture)]
    return Closure(
        tree=_tree(contents),
        architecture=platform.architecture,
        library_path=tuple(PurePosixPath(part) for part in library_path.split(":") if part.startswith("/")),
        cache={entry.soname: entry.path for entry in own},
        optional=optional_plugins(provider_of(contents)),
    )


def _tree(contents: ImageContents) -> LibraryTree:
    elves = {path: file.entry.elf for path, file in contents.files.items() if file.entry.elf}
    links = {path: file.entry.target for path, file in contents.files.items() if file.entry.kind is EntryKind.SYMLINK}
    return LibraryTree(elves=elves, links=links)


def _cache(contents: ImageContents) -> tuple[tuple[CachedLibrary, ...], list[tuple[PurePosixPath, str]]]:
    """What the loader's cache has; nothing, and the problem, where it cannot be read."""
    content = contents.kept.get(PLACE)
    if content is None:
        return (), []
    try:
        return read_loader_cache(content), []
    except BrokenLoaderCache as error:
        return (), [(PLACE, f"cannot be read: {error.facts['reason']}")]


def _stale(
    contents: ImageContents, closure: Closure, entries: tuple[CachedLibrary, ...]
) -> Iterator[tuple[PurePosixPath, str]]:
    """Where the cache and the directories that it is made from disagree. The default directories may be left out: the
    loader looks there anyway."""
    own = [entry for entry in entries if entry.is_for(closure.architecture)]
    for entry in own:
        if not closure.tree.find(entry.path):
            yield PLACE, f"names {entry.path}, which is not there"
    if PLACE not in contents.kept:
        return
    known = {entry.soname for entry in own}
    texts = [raw.decode(errors="replace") for path, raw in sorted(contents.kept.items()) if path.suffix == ".conf"]
    configured = [
        each for each in configured_directories(texts) if each not in default_directories(closure.architecture)
    ]
    for soname, path in libraries_in(configured, closure.tree, closure.architecture):
        if soname not in known:
            yield PLACE, f"does not name {soname}, which is in {path.parent} of the loader's configuration"
