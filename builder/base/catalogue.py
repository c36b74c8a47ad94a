"""The bases that there are, told for people and programs: what ``mbuild base list`` and ``mbuild base show`` print."""

from __future__ import annotations

from dataclasses import dataclass

from builder.base.lock import BaseLock, BaseNotLocked, LockedPackage, read_lock
from builder.base.spec import BaseImage, base_names, load_base
from builder.base.version import DebianVersion
from builder.oci.platform import Platform


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSummary:
    """One line of the list. ``download`` is bytes of package files for each platform; empty where nothing is locked."""

    name: str
    description: str
    suite: str
    python: str
    snapshot: str
    download: tuple[tuple[Platform, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageChange:
    """How a package differs between two locks; an empty version means that it is not there."""

    platform: Platform
    package: str
    before: str
    after: str

    @property
    def is_downgrade(self) -> bool:
        return bool(self.before and self.after) and DebianVersion(self.after) < DebianVersion(self.before)


def list_bases() -> tuple[BaseSummary, ...]:
    """A summary of each base that ships with mbuild."""
    return tuple(summarise(load_base(name)) for name in base_names())


def summarise(image: BaseImage) -> BaseSummary:
    """A summary of one base, locked or not."""
    try:
        lock = read_lock(image)
    except BaseNotLocked:
        lock = None
    return BaseSummary(
        name=image.name,
        description=image.description,
        suite=image.suite,
        python=lock.python if lock else image.python,
        snapshot=lock.snapshot if lock else "",
        download=tuple((p, sum(each.size for each in lock.platforms[p])) for p in image.platforms) if lock else (),
    )


def changes(before: BaseLock | None, after: BaseLock) -> tuple[PackageChange, ...]:
    """What a new lock changes, by platform and package: what ``mbuild base lock`` reports."""
    found = []
    for platform in sorted(after.platforms):
        old = _versions(before.platforms.get(platform, ()) if before else ())
        new = _versions(after.platforms[platform])
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                change = PackageChange(
                    platform=platform, package=name, before=old.get(name, ""), after=new.get(name, "")
                )
                found.append(change)
    return tuple(found)


def _versions(packages: tuple[LockedPackage, ...]) -> dict[str, str]:
    return {each.package: each.version for each in packages}
