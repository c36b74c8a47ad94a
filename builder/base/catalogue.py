"""The bases that there are, told for people and programs: what ``mbuild base list`` and ``mbuild base show`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.base.lock import BaseLock, BaseNotLocked, LibraryLock, LockedPackage, WheelsNotBrought, read_lock
from builder.base.spec import BaseImage, base_names, load_base
from builder.oci.platform import Platform
from builder.plan.wheel import LockedWheel


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSummary:
    """One line of the list. ``download`` is bytes of packages and wheels for each platform; empty where nothing is
    locked, of which ``unlocked`` is the reason where mbuild ships no lock."""

    name: str
    description: str
    suite: str
    python: str
    snapshot: str
    download: tuple[tuple[Platform, int], ...]
    unlocked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How a package or a wheel differs between two locks; an empty version means that it is not there."""

    platform: Platform
    package: str
    before: str
    after: str


def list_bases() -> tuple[BaseSummary, ...]:
    """A summary of each base that ships with mbuild."""
    return tuple(summarise(load_base(name)) for name in base_names())


def summarise(image: BaseImage) -> BaseSummary:
    """A summary of one base, locked or not."""
    try:
        lock = read_lock(image)
    except (BaseNotLocked, WheelsNotBrought):
        lock = None
    return BaseSummary(
        name=image.name,
        description=image.description,
        suite=image.suite,
        python=lock.python if lock else image.python,
        snapshot=lock.snapshot if lock else "",
        download=tuple((platform, _size(lock, platform)) for platform in image.platforms) if lock else (),
        unlocked="" if lock else "; ".join(f"{pin}: {why}" for pin, why in image.brought.items()),
    )


def _size(lock: BaseLock, platform: Platform) -> int:
    wheels = lock.libraries.get(platform, ())
    return sum(each.size for each in lock.platforms[platform]) + sum(each.size for each in wheels)


def changes(before: BaseLock | None, after: BaseLock) -> tuple[Change, ...]:
    """What a new lock changes, by platform and package: what ``mbuild base lock`` reports."""
    versions = [_of_packages(lock.platforms) if lock else {} for lock in (before, after)]
    return tuple(_changes(*versions))


def library_changes(before: LibraryLock | None, after: LibraryLock) -> tuple[Change, ...]:
    """The same for the wheels of a base with GPU libraries."""
    versions = [_of_wheels(lock.platforms) if lock else {} for lock in (before, after)]
    return tuple(_changes(*versions))


Versions = Mapping[tuple[Platform, str], str]


def _changes(old: Versions, new: Versions) -> Iterator[Change]:
    for platform, name in sorted(old.keys() | new.keys()):
        was, now = old.get((platform, name), ""), new.get((platform, name), "")
        if was != now:
            yield Change(platform=platform, package=name, before=was, after=now)


def _of_packages(locked: Mapping[Platform, Sequence[LockedPackage]]) -> Versions:
    return {(platform, one.package): one.version for platform, packages in locked.items() for one in packages}


def _of_wheels(locked: Mapping[Platform, Sequence[LockedWheel]]) -> Versions:
    return {(platform, wheel.name): wheel.version for platform, wheels in locked.items() for wheel in wheels}
