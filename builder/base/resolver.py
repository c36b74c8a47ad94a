"""The closure of a few Debian packages: what they depend on, and nothing that they only recommend.

Pure. It follows Pre-Depends and Depends, takes the first alternative that the archive can satisfy, treats an excluded
name as satisfied, and refuses a closure whose members break one another. There is no backtracking: one suite of a
Debian release is consistent, so a choice never has to be taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from builder.base.packages import Package, PackageIndex, Relation, any_satisfies, satisfies
from builder.errors import ResolutionError


class UnknownPackage(ResolutionError):
    code = "unknown-debian-package"
    message = "the archive has no package {package} for {architecture}"
    hint = "check its name under `packages` in image.yaml, and that the suite and components there hold it"


class UnsatisfiedDependency(ResolutionError):
    code = "unsatisfied-dependency"
    message = "{package} depends on {relation}, which the archive cannot satisfy for {architecture}"
    hint = "add a suite or component that holds it, or name it under `exclude` in image.yaml if it is not needed"


class ConflictingPackages(ResolutionError):
    code = "conflicting-packages"
    message = "{package} conflicts with {other} ({relation})"
    hint = "remove one of the two from `packages` in image.yaml, or exclude the one that is only depended on"


def close(
    roots: Collection[str], index: PackageIndex, *, excluded: Collection[str], architecture: str
) -> tuple[Package, ...]:
    """The packages ``roots`` and all they need, sorted by name. Raises UnknownPackage, UnsatisfiedDependency or
    ConflictingPackages."""
    chosen: dict[str, Package] = {}
    waiting: deque[Package] = deque()

    def choose(package: Package) -> None:
        chosen[package.name] = package
        waiting.append(package)

    for name in roots:
        package = index.get(name)
        if package is None:
            raise UnknownPackage(package=name, architecture=architecture)
        choose(package)
    while waiting:
        package = waiting.popleft()
        for group in package.depends:
            if _settled(group, chosen.values(), excluded):
                continue
            found = _first(group, index, excluded, architecture)
            if found is None:
                relation = " | ".join(map(str, group))
                raise UnsatisfiedDependency(package=package.name, relation=relation, architecture=architecture)
            choose(found)
    _refuse_conflicts(chosen.values())
    return tuple(chosen[name] for name in sorted(chosen))


def _settled(group: tuple[Relation, ...], chosen: Collection[Package], excluded: Collection[str]) -> bool:
    return any(relation.name in excluded or any_satisfies(chosen, relation) for relation in group)


def _first(
    group: tuple[Relation, ...], index: PackageIndex, excluded: Collection[str], architecture: str
) -> Package | None:
    for relation in group:
        if relation.architecture not in ("", "any", "native", architecture):
            continue
        for package in index.candidates(relation):
            if package.name not in excluded:
                return package
    return None


def _refuse_conflicts(chosen: Collection[Package]) -> None:
    """Conflicts and Breaks among the chosen; a package may conflict with what it provides itself (policy 7.4)."""
    for package in chosen:
        for relation in (relation for group in package.conflicts for relation in group):
            for other in chosen:
                if other is not package and satisfies(other, relation):
                    raise ConflictingPackages(package=package.name, other=other.name, relation=relation)
