"""Does the loader find all that the programs and libraries of a root ask for, in the versions that they ask for
(ld.so(8))? And who asks for a library?

Searched as glibc does, but for ``$LIB`` and ``$PLATFORM``: the file's own RPATH and those of whatever loads it (both
only without a RUNPATH), LD_LIBRARY_PATH, the file's RUNPATH with ``$ORIGIN``, the cache, the default directories.
``/etc/ld.so.conf`` is for ldconfig: the loader itself reads the cache alone. A name that any file has loaded before
would also do; such plugins are named in ``OPTIONAL_PLUGINS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from builder.elf.facts import ElfFacts
from builder.elf.tree import MACHINES, LibraryTree, default_directories

DRIVER_LIBRARIES = frozenset({"libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1", "libnvcuvid.so.1"})
"""Libraries of the GPU driver: the container toolkit brings them at run time, an image never has them."""

OPTIONAL_PLUGINS = frozenset({"libonnxruntime_providers_tensorrt.so"})
"""Files that are loaded on demand only, by whoever has what they need: where that is nobody, they are no problem."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """``file`` cannot be loaded, or not all that it opens; ``text`` is a phrase such as "needs libfoo.so.1",
    ``missing`` the name of a library that is not found."""

    file: PurePosixPath
    text: str
    missing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """``file`` asks for ``library`` (a real path) by ``name``."""

    file: PurePosixPath
    name: str
    library: PurePosixPath


@dataclass(frozen=True, kw_only=True)
class Closure:
    """``library_path`` is LD_LIBRARY_PATH, ``cache`` what the loader's cache has by name, ``allowed`` are the names
    that need not be there, ``optional`` the files that need not be loadable."""

    tree: LibraryTree
    architecture: str
    library_path: tuple[PurePosixPath, ...] = ()
    cache: Mapping[str, PurePosixPath] = field(default_factory=dict)
    allowed: frozenset[str] = DRIVER_LIBRARIES
    optional: frozenset[str] = OPTIONAL_PLUGINS

    def find(self, name: str, asking: PurePosixPath) -> PurePosixPath | None:
        """The real path of the library that the file ``asking`` gets by that name."""
        if "/" in name:
            return self._loadable(PurePosixPath(name))
        return self._search(name, asking, self._inherited.get(asking, ()))

    def uses(self) -> Iterator[Use]:
        """Who asks for which library; what is not found is none."""
        for file, elf in self.tree.elves.items():
            for name in elf.needed:
                if library := self.find(name, file):
                    yield Use(file=file, name=name, library=library)

    def problems(self) -> tuple[Problem, ...]:
        """Of every program and shared object that the loader could not load."""
        found = [
            problem
            for file, elf in self.tree.elves.items()
            if file.name not in self.optional
            for problem in self._problems(file, elf)
        ]
        return tuple(sorted(found, key=lambda problem: (problem.file, problem.text)))

    def _problems(self, file: PurePosixPath, elf: ElfFacts) -> Iterator[Problem]:
        if self._machine and elf.machine != self._machine:
            yield Problem(file=file, text=f"is built for {elf.machine}, not for {self._machine}")
            return
        if elf.interpreter and not self.tree.find(PurePosixPath(elf.interpreter)):
            yield Problem(file=file, text=f"needs the loader {elf.interpreter}")
        for name in elf.needed:
            if name not in self.allowed and not self.find(name, file):
                yield Problem(file=file, text=f"needs {name}{self._elsewhere(name)}", missing=name)
        for name, versions in elf.requires:
            library = self.find(name, file)
            defined = self.tree.elves[library].defines if library else ()
            for version in versions if defined else ():
                if version not in defined:
                    text = f"needs {version} of {name}, which {library} does not define"
                    yield Problem(file=file, text=text)

    def _elsewhere(self, name: str) -> str:
        others = [str(path) for path in self._by_name.get(name, ())]
        return f" (there is {others[0]}, where the loader does not look for it)" if others else ""

    def _search(self, name: str, asking: PurePosixPath, inherited: Iterable[PurePosixPath]) -> PurePosixPath | None:
        elf = self.tree.elves[asking]
        own = expanded_search(asking, elf)
        before = [*own, *inherited] if elf.is_rpath else list(inherited)
        behind = [] if elf.is_rpath else own
        cached = [self.cache[name]] if name in self.cache else []
        places = [*(place / name for place in (*before, *self.library_path, *behind)), *cached]
        places += [place / name for place in default_directories(self.architecture)]
        return next((found for place in places if (found := self._loadable(place))), None)

    def _loadable(self, path: PurePosixPath) -> PurePosixPath | None:
        """The loader passes over files for other machines."""
        found = self.tree.find(path)
        return found if found and self._machine in ("", self.tree.elves[found].machine) else None

    @property
    def _machine(self) -> str:
        return MACHINES.get(self.architecture, "")

    @cached_property
    def _by_name(self) -> Mapping[str, list[PurePosixPath]]:
        found: dict[str, list[PurePosixPath]] = {}
        for path in sorted(self.tree.elves):
            found.setdefault(path.name, []).append(path)
        return found

    @cached_property
    def _inherited(self) -> Mapping[PurePosixPath, tuple[PurePosixPath, ...]]:
        """For each library without a RUNPATH, the RPATHs of what loads it, from the nearest to the program."""
        passed: dict[PurePosixPath, tuple[PurePosixPath, ...]] = {}
        waiting = [(path, expanded_search(path, elf)) for path, elf in self.tree.elves.items() if elf.is_rpath]
        while waiting:
            path, handed = waiting.pop()
            for name in self.tree.elves[path].needed:
                above = () if _has_runpath(self.tree.elves[path]) else (*passed.get(path, ()), *handed)
                library = self._search(name, path, above)
                known = passed.get(library, ()) if library else handed
                more = tuple(place for place in handed if place not in known)
                if library and more:
                    passed[library] = (*known, *more)
                    waiting.append((library, handed))
        return {path: handed for path, handed in passed.items() if not _has_runpath(self.tree.elves[path])}


def expanded_search(path: PurePosixPath, elf: ElfFacts) -> tuple[PurePosixPath, ...]:
    """The directories of a file's RUNPATH or RPATH."""
    origin = str(path.parent)
    return tuple(PurePosixPath(entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)) for entry in elf.search)


def _has_runpath(elf: ElfFacts) -> bool:
    return bool(elf.search) and not elf.is_rpath
