"""Proof that the GPU libraries of a base close: over its root filesystem, with the onnxruntime that they are for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.elf import read_elf
from builder.elf.cuda import PROVIDERS, claimed, optional_plugins
from builder.elf.facts import read_elf_symbols
from builder.elf.library_set import LibrarySet, OwnedLibrary
from builder.errors import ResolutionError
from builder.host import Host
from builder.host.trees import StagedTree
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform
from builder.plan.gpu import GpuLibraries
from builder.plan.wheel import LockedWheel
from builder.targets.wheel_libraries import read_libraries

_SITE = PurePosixPath("/opt/mbuild/runtime")
"""Where wheels lie in images; that they lie together is what matters."""


class LibrariesDoNotClose(ResolutionError):
    code = "libraries-do-not-close"
    message = "the libraries of the base {base} for {platform} do not close:\n{problems}"
    hint = "change gpu.wheels, gpu.parts or gpu.capabilities in its image.yaml; image.lock is as it was"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedLibraries:
    """``wheels`` are those of ``gpu.wheels`` of the base ``base``, ``runtime`` that of the onnxruntime they are for,
    ``root`` is the root filesystem that they will lie in."""

    base: str
    gpu: GpuLibraries
    wheels: tuple[LockedWheel, ...]
    runtime: tuple[LockedWheel, ...]
    root: StagedTree
    platform: Platform


def prove_libraries(locked: LockedLibraries, host: Host) -> dict[str, str]:
    """What each wheel is there for. The wheels must be in the store. Raises LibrariesDoNotClose."""
    parts = (library for wheel in locked.wheels for library in _in_parts(locked.gpu, wheel, host))
    runtime = (library for wheel in locked.runtime for library in _all(wheel, host))
    proven = _library_set(locked, (*_of_base(locked.root), *parts, *runtime))
    problems = proven.problems()
    there = {library.path.name for library in proven.libraries}
    for library in PROVIDERS.get(locked.gpu.provider, ()):
        if library not in there:
            problems += (f"{locked.gpu.runtime}: has no {library}, which {locked.gpu.provider} is in",)
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise LibrariesDoNotClose(base=locked.base, platform=locked.platform, problems=listing)
    names = [f"{wheel.name} {wheel.version}" for wheel in locked.wheels]
    return {owner: why for owner, why in proven.reasons().items() if owner in names}


def _library_set(locked: LockedLibraries, libraries: tuple[OwnedLibrary, ...]) -> LibrarySet:
    gpu = locked.gpu
    links = {entry.path: entry.target for entry in locked.root.entries if entry.kind is EntryKind.SYMLINK}
    links |= {_SITE / path: target for part in gpu.parts for path, target in part.links}
    provider = PROVIDERS.get(gpu.provider, ("",))[-1]
    claims = [claimed(text) for text in gpu.capabilities]
    return LibrarySet(
        libraries=libraries,
        architecture=locked.platform.architecture,
        cuda=int(gpu.cuda.partition(".")[0]),
        links=links,
        claims=(*claims, *([claimed(gpu.ptx, is_ptx=True)] if gpu.ptx else [])),
        provider=next((library.path for library in libraries if library.path.name == provider), None),
        optional=optional_plugins(gpu.provider),
    )


def _in_parts(gpu: GpuLibraries, wheel: LockedWheel, host: Host) -> Iterator[OwnedLibrary]:
    parts = [part for part in gpu.parts if part.wheel == wheel.name]
    for library in _all(wheel, host):
        if any(part.holds(library.path.relative_to(_SITE)) for part in parts):
            yield library


def _all(wheel: LockedWheel, host: Host) -> Iterator[OwnedLibrary]:
    for library in read_libraries(wheel, host):
        owner = f"{wheel.name} {wheel.version}"
        yield OwnedLibrary(owner=owner, path=_SITE / library.path, elf=library.elf, symbols=library.symbols)


def _of_base(root: StagedTree) -> Iterator[OwnedLibrary]:
    for entry in root.entries:
        if entry.digest is None:
            continue
        with root.open(entry.digest) as stream:
            elf = read_elf(stream)
            if elf is not None:
                yield OwnedLibrary(owner="", path=entry.path, elf=elf, symbols=read_elf_symbols(stream))
