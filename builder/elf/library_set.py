"""Does a set of libraries close: those of some packages, over those of a base? And what is each package there for?

Beside what the loader itself checks (``Closure``), each symbol with a version that one library wants is looked for in
the others, which shows a library that is too old within one SONAME.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from builder.elf.closure import DRIVER_LIBRARIES, OPTIONAL_PLUGINS, Closure, Problem, Use
from builder.elf.cuda import code_problems, opened_problems, openers, wheel_with
from builder.elf.facts import ElfFacts
from builder.elf.gpu_code import GpuCode
from builder.elf.tree import LibraryTree
from builder.elf.versions import ElfSymbols

_MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class OwnedLibrary:
    """``owner`` is the package that it is from (``nvidia-cublas 13.1.2.11``), empty for the base."""

    owner: str
    path: PurePosixPath
    elf: ElfFacts
    symbols: ElfSymbols


@dataclass(frozen=True, kw_only=True)
class LibrarySet:
    """``links``: of the base and of packages, by path; ``claims``: the GPU code that images will say they have, and
    ``provider`` the library that must have it, None where nothing is known of that; ``cuda`` is the major version;
    ``optional`` are files that need not be loadable."""

    libraries: tuple[OwnedLibrary, ...]
    architecture: str
    cuda: int
    links: Mapping[PurePosixPath, str] = field(default_factory=dict)
    claims: tuple[GpuCode, ...] = ()
    provider: PurePosixPath | None = None
    optional: frozenset[str] = OPTIONAL_PLUGINS

    def problems(self) -> tuple[str, ...]:
        """What does not close, as sentences that begin with the package."""
        found = [*self.closure.problems(), *opened_problems(self.closure), *self._names(), *self._symbols()]
        if self.provider:
            found += code_problems(self.claims, self.provider, self.closure)
        return tuple(self._told(problem) for problem in found if self._owner(problem.file))

    def reasons(self) -> dict[str, str]:
        """By package, which of its libraries is there for which others."""
        told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for library in sorted(self.libraries, key=lambda library: library.path):
            if library.owner:
                told[library.owner][self._reason(library)].append(library.path.name)
        return {
            owner: "; ".join(f"{_listed(names)}{', ' if why else ''}{why}" for why, names in sorted(groups.items()))
            for owner, groups in sorted(told.items())
        }

    @cached_property
    def closure(self) -> Closure:
        """As in an image, whose cache has the libraries of the packages and their links by name."""
        owned = [library.path for library in self.libraries if library.owner]
        directories = {path.parent for path in owned}
        links = [path for path in self.links if path.parent in directories]
        return Closure(
            tree=LibraryTree(elves={library.path: library.elf for library in self.libraries}, links=self.links),
            architecture=self.architecture,
            cache={path.name: path for path in (*links, *owned)},
            optional=self.optional,
        )

    @cached_property
    def _by_path(self) -> Mapping[PurePosixPath, OwnedLibrary]:
        return {library.path: library for library in self.libraries}

    def _owner(self, path: PurePosixPath) -> str:
        return self._by_path[path].owner

    def _told(self, problem: Problem) -> str:
        text = f"{self._owner(problem.file)}: {problem.file.name} {problem.text}"
        wheel = wheel_with(problem.missing, self.cuda) if problem.missing else ""
        nobody = ", which no part has" if problem.missing and "(" not in problem.text else ""
        return f"{text}{nobody}{f'; {wheel} brings it' if wheel else ''}"

    def _names(self) -> Iterator[Problem]:
        """CUDA's libraries that are not found by their own names, since an image's cache has file names."""
        for library in self.libraries:
            soname = library.elf.soname
            if library.owner and wheel_with(soname, self.cuda) and soname not in self.closure.cache:
                yield Problem(file=library.path, text=f"is asked for as {soname}, for which there is no link")

    def _symbols(self) -> Iterator[Problem]:
        """Symbols that nobody defines, in files that find their libraries."""
        offered = {symbol for library in self.libraries for symbol in library.symbols.offered}
        for library in self.libraries:
            if not library.owner or library.path.name in self.optional:
                continue
            lacking = defaultdict(list)
            names = {name for name, _, _ in library.symbols.wanted} - DRIVER_LIBRARIES
            finds = {name: self.closure.find(name, library.path) for name in names}
            for name, version, symbol in sorted(library.symbols.wanted):
                found = finds.get(name)
                if found and self._by_path[found].elf.defines and (version, symbol) not in offered:
                    lacking[name, version, found].append(symbol)
            for (name, version, found), symbols in lacking.items():
                text = f"calls {_listed(symbols)} ({version}), which {self._owner(found) or name} does not define"
                yield Problem(file=library.path, text=text)

    def _reason(self, library: OwnedLibrary) -> str:
        uses = [use for use in self._uses.get(library.path, ()) if self._owner(use.file)]
        if uses:
            idle = library.elf.defines and not any(self._calls(use) for use in uses)
            needing = _listed(sorted({use.file.name for use in uses}))
            return f"needed by {needing}{', which calls nothing of it' if idle else ''}"
        opening = sorted({path.name for path in openers(library.path, self.closure)})
        return f"opened by {_listed(opening)}" if opening else ""

    def _calls(self, use: Use) -> bool:
        return any(name == use.name for name, _, _ in self._by_path[use.file].symbols.wanted)

    @cached_property
    def _uses(self) -> Mapping[PurePosixPath, list[Use]]:
        found = defaultdict(list)
        for use in self.closure.uses():
            if use.file.name not in self.optional:
                found[use.library].append(use)
        return found


def _listed(names: list[str]) -> str:
    """``a, b and c``, of many only the first."""
    if len(names) > _MOST_NAMES + 1:
        names = [*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
