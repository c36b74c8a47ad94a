"""``image.lock``: which package files a base is made of, for each platform, and where they were true; of a base that
has a parent, which wheels its GPU libraries are from: its packages are in the parent's lock.

It holds digests and paths within an archive, never the address of a mirror. ``snapshot`` is the moment at which a
snapshot archive serves all of them, so that a package which has left the mirrors can still be had.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from builder.base.spec import BaseImage
from builder.canonical import readable_json
from builder.errors import ResolutionError, SpecError, UsageError
from builder.host.fs import atomic_write, why_not_writable
from builder.oci.digest import Digest, MalformedDigest
from builder.oci.platform import MalformedPlatform, Platform
from builder.plan.wheel import LockedWheel

FORMAT = 1
_Lock = TypeVar("_Lock")


class BaseNotLocked(ResolutionError):
    code = "base-not-locked"
    message = "the base image {name} has no {path}"
    hint = "make it with `mbuild base lock {name}`"


class WheelsNotBrought(ResolutionError):
    """A base that ships without a lock, and the user has made none, or lacks the wheels for it."""

    code = "wheels-not-brought"
    message = "the base image {name} needs {wheel}, {state}: {why}"
    hint = (
        "get that wheel from NVIDIA, name its directory in UV_FIND_LINKS (or in find-links of pip's or uv's settings), "
        "and run `mbuild base lock {name}`"
    )


class BaseLockNotWritable(UsageError):
    code = "base-lock-not-writable"
    message = "the lock of the base image {name} cannot be written to {path}: {reason}"
    hint = "name the base by a directory of your own; the locks of bases that ship without one lie below MBUILD_BASES"


class MalformedBaseLock(SpecError):
    code = "malformed-base-lock"
    message = "{path} is not the lock of a base image: {reason}"
    hint = "make it anew with `mbuild base lock {name}`"


class BaseLockDrift(ResolutionError):
    code = "base-lock-drift"
    message = "{path} was made from another image.yaml: {drift}"
    hint = "run `mbuild base lock {name}` and commit the result"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPackage:
    """One package file: ``path`` is relative to the root of ``archive``, ``size`` in bytes."""

    package: str
    version: str
    archive: str
    path: str
    size: int
    sha256: Digest

    def to_json(self) -> dict[str, object]:
        return {
            "package": self.package,
            "version": self.version,
            "archive": self.archive,
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256.hex,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LockedPackage:
        return cls(**{**value, "sha256": Digest.from_hex(value["sha256"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedRelease:
    """A suite as it was when it was locked: its own date and the fingerprints of the keys that signed it."""

    archive: str
    suite: str
    date: str
    version: str
    signed_by: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "archive": self.archive,
            "suite": self.suite,
            "date": self.date,
            "version": self.version,
            "signed_by": list(self.signed_by),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseLock:
    """``python`` is the exact version (``3.13.5``); ``closure_key`` is that of the spec the lock was made from;
    ``libraries`` are the wheels of a base with GPU libraries."""

    name: str
    closure_key: str
    keyring: Digest
    python: str
    snapshot: str
    releases: tuple[LockedRelease, ...]
    platforms: Mapping[Platform, tuple[LockedPackage, ...]]
    libraries: Mapping[Platform, tuple[LockedWheel, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "name": self.name,
            "closure_key": self.closure_key,
            "keyring": str(self.keyring),
            "python": self.python,
            "snapshot": self.snapshot,
            "releases": [release.to_json() for release in self.releases],
            "platforms": {
                str(platform): [package.to_json() for package in packages]
                for platform, packages in self.platforms.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BaseLock:
        """The inverse of ``to_json``; KeyError, TypeError or ValueError for anything else."""
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']}, and this mbuild reads {FORMAT}")
        return cls(
            name=value["name"],
            closure_key=value["closure_key"],
            keyring=Digest(value["keyring"]),
            python=value["python"],
            snapshot=value["snapshot"],
            releases=tuple(
                LockedRelease(**{**each, "signed_by": tuple(each["signed_by"])}) for each in value["releases"]
            ),
            platforms={
                Platform.parse(platform): tuple(LockedPackage.from_json(package) for package in packages)
                for platform, packages in value["platforms"].items()
            },
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryLock:
    """The lock of a base that has a parent."""

    name: str
    parent: str
    platforms: Mapping[Platform, tuple[LockedWheel, ...]]

    def to_json(self) -> dict[str, object]:
        wheels = {str(platform): [wheel.to_json() for wheel in wheels] for platform, wheels in self.platforms.items()}
        return {"format": FORMAT, "name": self.name, "parent": self.parent, "wheels": wheels}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LibraryLock:
        """The inverse of ``to_json``; KeyError, TypeError or ValueError for anything else."""
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']}, and this mbuild reads {FORMAT}")
        platforms = {
            Platform.parse(platform): tuple(map(LockedWheel.from_json, wheels))
            for platform, wheels in value["wheels"].items()
        }
        return cls(name=value["name"], parent=value["parent"], platforms=platforms)


def read_lock(image: BaseImage, path: Path | None = None) -> BaseLock:
    """The lock of ``image`` (beside it, or at ``path``). Raises BaseNotLocked, WheelsNotBrought, MalformedBaseLock or
    BaseLockDrift."""
    path = path or image.lock_path
    if image.parent:
        return _with_libraries(image, image.parent, path)
    lock = written_lock(image, path)
    if lock is None:
        raise BaseNotLocked(name=image.name, path=path)
    if lock.closure_key != image.closure_key:
        raise BaseLockDrift(name=image.name, path=path, drift="packages, exclusions, archives or platforms changed")
    if Digest.of(image.keyring.read_bytes()) != lock.keyring:
        raise BaseLockDrift(name=image.name, path=path, drift="the keyring changed")
    return lock


def _with_libraries(image: BaseImage, parent: BaseImage, path: Path) -> BaseLock:
    below, own = read_lock(parent), written_libraries(image, path)
    if own is None and image.brought:
        raise not_brought(image, f"which is not locked in {path}")
    if own is None:
        raise BaseNotLocked(name=image.name, path=path)
    pins = set(image.gpu.wheels if image.gpu else ())
    for platform in image.platforms:
        locked = {f"{wheel.name}=={wheel.version}" for wheel in own.platforms.get(platform, ())}
        if locked != pins:
            changed = ", ".join(sorted(locked ^ pins))
            raise BaseLockDrift(name=image.name, path=path, drift=f"gpu.wheels changed for {platform} ({changed})")
    return replace(below, name=image.name, libraries=own.platforms)


def not_brought(image: BaseImage, state: str) -> WheelsNotBrought:
    """The error for what only the user can bring; ``state`` says what is wrong with it."""
    return WheelsNotBrought(
        name=image.name, wheel=", ".join(image.brought), state=state, why="; ".join(image.brought.values())
    )


def require_writable(image: BaseImage) -> None:
    """Raises BaseLockNotWritable; what a lock is made of may be gigabytes."""
    if reason := why_not_writable(image.lock_path.parent):
        raise BaseLockNotWritable(name=image.name, path=image.lock_path, reason=reason)


def written_libraries(image: BaseImage, path: Path) -> LibraryLock | None:
    """The lock at ``path`` of a base that has a parent; as ``written_lock``."""
    return _read(LibraryLock.from_json, image, path)


def written_lock(image: BaseImage, path: Path) -> BaseLock | None:
    """The lock at ``path``, whether or not it still fits; None where there is none. Raises MalformedBaseLock."""
    return _read(BaseLock.from_json, image, path)


def _read(parse: Callable[[Mapping[str, Any]], _Lock], image: BaseImage, path: Path) -> _Lock | None:
    try:
        return parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, AttributeError, MalformedDigest, MalformedPlatform) as error:
        raise MalformedBaseLock(name=image.name, path=path, reason=repr(error)) from error


def write_lock(lock: BaseLock | LibraryLock, path: Path) -> None:
    """Write it with sorted keys and packages, so that a new lock is a readable diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, readable_json(lock.to_json()))
