"""Makes ``image.lock``: asks the archive which packages there are today, and writes down the closure.

The only part of a base that chooses versions. It needs the network; everything after it needs only digests.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from builder.base.lock import BaseLock, LockedPackage, LockedRelease
from builder.base.mirror import ArchiveUnreachable, Mirrors, PackageGone
from builder.base.packages import Package, PackageIndex
from builder.base.release import Keyring, Release, verify_release
from builder.base.resolver import close
from builder.base.spec import Archive, BaseImage
from builder.errors import ResolutionError
from builder.events import Progress, Warned
from builder.host import Host
from builder.host.clock import seconds_of_date, utc_stamp
from builder.oci.digest import Digest
from builder.oci.platform import Platform

_INRELEASE_LIMIT = 4 << 20
_DAY = 86_400
_IMPORT_DELAY = 6 * 3_600
"""Snapshot archives import a release some hours after its date."""


class PythonMissing(ResolutionError):
    code = "python-missing"
    message = "the packages of the base image {base} do not bring Python {python} for {platform}"
    hint = "add python{python}-minimal and libpython{python}-stdlib to `packages` in image.yaml"


class PythonsDiffer(ResolutionError):
    code = "pythons-differ"
    message = "the archive has different versions of Python for the platforms of {base}: {listing}"
    hint = "an update is under way in the archive; lock again in some hours"


class DamagedIndex(ResolutionError):
    code = "damaged-index"
    message = "the package index {path} cannot be decompressed: {reason}"
    hint = "try another mirror with MBUILD_DEBIAN_MIRROR"


def lock_base(image: BaseImage, host: Host) -> BaseLock:
    """Resolve ``image`` against its archives as they are now, for all its platforms.

    Raises UntrustedRelease, ArchiveUnreachable, UnsatisfiedDependency and their kin; writes nothing.
    """
    mirrors = Mirrors(base=image.name, snapshot=utc_stamp(host.clock.now()), host=host)
    keyring = Keyring(name=image.keyring.name, content=image.keyring.read_bytes())
    releases = tuple(_releases(image, mirrors, keyring))
    closures = {platform: _closure(image, platform, releases, mirrors) for platform in image.platforms}
    return BaseLock(
        name=image.name,
        closure_key=image.closure_key,
        keyring=Digest.of(keyring.content),
        python=_python(image, closures),
        snapshot=_snapshot_for(release for _, release in releases),
        releases=tuple(_locked_release(archive, release) for archive, release in releases),
        platforms={platform: tuple(map(_locked, packages)) for platform, packages in closures.items()},
    )


def _releases(image: BaseImage, mirrors: Mirrors, keyring: Keyring) -> Iterator[tuple[Archive, Release]]:
    events = mirrors.host.events
    for archive in image.archives:
        for suite in archive.suites:
            try:
                content = mirrors.read(archive.name, f"dists/{suite}/InRelease", _INRELEASE_LIMIT)
            except (PackageGone, ArchiveUnreachable) as error:
                if not archive.optional:
                    raise
                events.emit(Warned(message=f"{image.name} is locked without {suite}: {error}", hint=error.advice))
                continue
            release = verify_release(content, keyring, suite)
            _warn_if_stale(release, mirrors.host)
            yield archive, release


def _warn_if_stale(release: Release, host: Host) -> None:
    if release.valid_until and seconds_of_date(release.valid_until) < host.clock.now():
        hint = "the mirror has not been updated since; security fixes may be missing from the lock"
        host.events.emit(Warned(message=f"{release.suite} was valid until {release.valid_until} only", hint=hint))


def _closure(
    image: BaseImage, platform: Platform, releases: tuple[tuple[Archive, Release], ...], mirrors: Mirrors
) -> tuple[Package, ...]:
    index = PackageIndex()
    architecture = platform.architecture
    for archive, release in releases:
        for component in image.components:
            index.add(_packages_text(archive, release, f"{component}/binary-{architecture}", mirrors), archive.name)
    return close(image.packages, index, excluded=image.exclude, architecture=architecture)


def _packages_text(archive: Archive, release: Release, directory: str, mirrors: Mirrors) -> str:
    """The text of one ``Packages`` file. By its digest first: a mirror in the middle of an update has old and new."""
    digest = release.index(f"{directory}/Packages.xz")
    below = f"dists/{release.suite}/{directory}"
    paths = (f"{below}/by-hash/SHA256/{digest.hex}", f"{below}/Packages.xz")
    done = 0

    def seen(count: int) -> None:
        nonlocal done
        done += count
        mirrors.host.events.emit(Progress(step="base", done=done, total=None, unit="bytes"))

    mirrors.fetch(archive.name, paths, digest, seen)
    try:
        return lzma.decompress(b"".join(mirrors.host.store.read_blob(digest))).decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise DamagedIndex(path=paths[1], reason=error) from error


def _python(image: BaseImage, closures: dict[Platform, tuple[Package, ...]]) -> str:
    """The exact version of Python, from the upstream version of its package: ``3.13.5-2+deb13u5`` is 3.13.5."""
    found = {}
    for platform, packages in closures.items():
        versions = [package.version for package in packages if package.name == f"python{image.python}-minimal"]
        if not versions:
            raise PythonMissing(base=image.name, python=image.python, platform=platform)
        found[versions[0].upstream] = platform
    if len(found) > 1:
        listing = ", ".join(f"{version} for {platform}" for version, platform in sorted(found.items()))
        raise PythonsDiffer(base=image.name, listing=listing)
    return next(iter(found))


def _snapshot_for(releases: Iterator[Release]) -> str:
    """The midnight by which a snapshot archive has imported all the releases."""
    latest = max(seconds_of_date(release.date) for release in releases) + _IMPORT_DELAY
    return utc_stamp((int(latest) // _DAY + 1) * _DAY)


def _locked_release(archive: Archive, release: Release) -> LockedRelease:
    return LockedRelease(
        archive=archive.name,
        suite=release.suite,
        date=release.date,
        version=release.version,
        signed_by=release.signed_by,
    )


def _locked(package: Package) -> LockedPackage:
    return LockedPackage(
        package=package.name,
        version=str(package.version),
        archive=package.archive,
        path=package.path,
        size=package.size,
        sha256=package.sha256,
    )
