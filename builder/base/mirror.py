"""Where package files come from: the mirror that was configured, the machine's own, or the dated snapshot archive.

Every root is tried in turn, and what one serves is believed only by its digest or signature, so plain HTTP is fine.
No other address is known here: the snapshot archive is the documented default for machines without Debian sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.base.sources import APT_DIRECTORY, machine_mirrors
from builder.errors import RegistryError, ResolutionError
from builder.host import Host
from builder.host.http import NetworkError, Request, Response, redacted
from builder.host.store import Stored, WrongDigest
from builder.oci.digest import Digest

SNAPSHOT = "https://snapshot.debian.org"
"""The archive that keeps every package ever published (MBUILD_DEBIAN_SNAPSHOT names a mirror of it)."""

_PAUSES = (1.0, 3.0)
"""Seconds before a temporary failure is tried again."""

_GONE = (404, 410)
_Taken = TypeVar("_Taken")


class PackageGone(ResolutionError):
    code = "package-gone"
    message = "no mirror has {path} of the archive {archive} any more:\n{attempts}"
    hint = (
        "run `mbuild base lock {base}` for today's packages, "
        "or name a mirror that still has it with MBUILD_DEBIAN_MIRROR"
    )


class ArchiveUnreachable(RegistryError):
    code = "archive-unreachable"
    message = "no mirror of the Debian archive {archive} can be reached for {path}:\n{attempts}"
    hint = "check this machine's network and proxy (HTTPS_PROXY), or name a mirror with MBUILD_DEBIAN_MIRROR"


def archive_roots(
    archive: str, snapshot: str, environ: Mapping[str, str], apt: Path = APT_DIRECTORY
) -> tuple[str, ...]:
    """The roots to try for ``archive``, in order: MBUILD_DEBIAN_MIRROR (for other archives its sibling, or
    MBUILD_DEBIAN_SECURITY_MIRROR and so on), else the machine's apt sources; the snapshot archive last."""
    configured = environ.get(f"MBUILD_{archive.upper().replace('-', '_')}_MIRROR", "").rstrip("/")
    main = environ.get("MBUILD_DEBIAN_MIRROR", "").rstrip("/")
    if not configured and main.endswith("/debian"):
        configured = f"{main.removesuffix('debian')}{archive}"
    mirrors = (configured,) if configured else machine_mirrors(archive, apt)
    service = environ.get("MBUILD_DEBIAN_SNAPSHOT", SNAPSHOT).rstrip("/")
    return (*mirrors, f"{service}/archive/{archive}/{snapshot}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirrors:
    """Fetches files of the archives for the base image ``base``, a snapshot at ``snapshot`` being the last resort."""

    base: str
    snapshot: str
    host: Host
    apt: Path = APT_DIRECTORY

    def first_with(self, archive: str, path: str, seconds: float) -> str:
        """The root that a build would take ``path`` from now, asked once and without pauses. Raises as ``read``."""
        attempts, gone = [], False
        for root in archive_roots(archive, self.snapshot, self.host.environ, self.apt):
            try:
                with self.host.http.send(Request(verb="GET", url=f"{root}/{path}", timeout=seconds)) as response:
                    if response.status == 200:
                        return redacted(root)
                    gone = gone or response.status in _GONE
                    attempts.append(f"  {redacted(root)}: status {response.status}")
            except NetworkError as error:
                attempts.append(f"  {error}")
        kind = PackageGone if gone else ArchiveUnreachable
        raise kind(base=self.base, archive=archive, path=path, attempts="\n".join(attempts))

    def read(self, archive: str, path: str, limit: int) -> bytes:
        """A small file that nothing vouches for yet. Raises PackageGone or ArchiveUnreachable."""
        return self._first(archive, (path,), lambda response: response.read(limit))

    def fetch(self, archive: str, paths: tuple[str, ...], digest: Digest, seen: Callable[[int], None]) -> Stored:
        """The blob ``digest``: from the store, or from the first root that serves it under one of ``paths``.

        ``seen`` is told the bytes as they come (a negative number when they were in vain). Raises WrongDigest,
        PackageGone or ArchiveUnreachable.
        """
        path = self.host.store.blob_path(digest)
        if self.host.store.has_blob(digest):
            seen(path.stat().st_size)
            return Stored(digest=digest, size=path.stat().st_size, path=path)

        def take(response: Response) -> Stored:
            with _Counter(seen) as counter:
                return self.host.store.put_blob(counter.count(response.chunks()), expected=digest, what=paths[0])

        return self._first(archive, paths, take)

    def _first(self, archive: str, paths: tuple[str, ...], take: Callable[[Response], _Taken]) -> _Taken:
        """What ``take`` makes of the first answer that it believes. A lying root is an attempt like any other."""
        attempts: list[str] = []
        gone, lie = False, None
        for root in archive_roots(archive, self.snapshot, self.host.environ, self.apt):
            for path in paths:
                url = f"{root}/{path}"
                try:
                    status, taken = self._attempt(url, take)
                except WrongDigest as error:
                    lie = error
                    attempts.append(f"  {redacted(url)}: {error}")
                    continue
                except NetworkError as error:
                    attempts.append(f"  {error}")
                    break
                if taken is not None:
                    return taken
                gone = gone or status in _GONE
                attempts.append(f"  {redacted(url)}: status {status}")
        if lie is not None:
            raise lie
        kind = PackageGone if gone else ArchiveUnreachable
        raise kind(base=self.base, archive=archive, path=paths[0], attempts="\n".join(attempts))

    def _attempt(self, url: str, take: Callable[[Response], _Taken]) -> tuple[int, _Taken | None]:
        """One URL, again after a pause when the failure was temporary."""
        for pause in _PAUSES:
            try:
                return self._answer(url, take)
            except NetworkError as error:
                if not error.temporary:
                    raise
            self.host.clock.sleep(pause)
        return self._answer(url, take)

    def _answer(self, url: str, take: Callable[[Response], _Taken]) -> tuple[int, _Taken | None]:
        with self.host.http.send(Request(verb="GET", url=url)) as response:
            return response.status, take(response) if response.status == 200 else None


class _Counter:
    """Reports bytes as they pass, and takes the report back when what they were for fails."""

    def __init__(self, seen: Callable[[int], None]) -> None:
        self._seen = seen
        self._counted = 0

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._seen(-self._counted)

    def count(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._counted += len(chunk)
            self._seen(len(chunk))
            yield chunk
