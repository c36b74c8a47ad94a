"""Brings a wheel file into the store, from the user's own index, through the user's own proxy and certificates.

A wheel for GPUs has 400 to 560 MB. One whose hash is known is gone on with where it was cut, in this run and in the
next (RFC 9110, 14.2): whatever the pieces are of, the whole counts only with its hash.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import ResolutionError
from builder.events import Progress
from builder.host import Host
from builder.host.http import CHUNK, Http, NetworkError, Request, Response, redacted, without
from builder.host.index_login import find_login, without_login
from builder.host.store import Stored
from builder.host.uv import IndexRefused, IndexUnreachable, package_environment
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.targets.pylock import Offer

ATTEMPTS = 3
_FORWARD = 1 << 20
"""Bytes that a try must bring for the tries before it not to count any more."""

_WHEEL = "application/zip"
_ANY_SIZE = 1 << 40
"""For an index that does not tell how large its files are."""

_SPAN = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class WheelUnreadable(ResolutionError):
    code = "wheel-unreadable"
    message = "the wheel {filename} cannot be fetched: {reason}"
    hint = "check the index or the find-links directory that offers it; run again if it was a passing fault"


def download_wheel(offer: Offer, host: Host) -> Stored:
    """The wheel as a blob. Raises IndexUnreachable, IndexRefused, WheelUnreadable, or WrongDigest for other bytes."""
    expected = Digest.from_hex(offer.sha256) if offer.sha256 else None
    if urlsplit(offer.url).scheme not in ("http", "https"):
        return _copied(offer, expected, host)
    if expected is None:
        return _unknown(offer, host)
    size = _ANY_SIZE if offer.size is None else offer.size
    wheel = Descriptor(media_type=_WHEEL, digest=expected, size=size)
    host.store.fetch_blob(wheel, lambda start: _remote(offer, start, host), what=offer.filename)
    return _stored(expected, host)


def _copied(offer: Offer, expected: Digest | None, host: Host) -> Stored:
    if expected and host.store.has_blob(expected):
        return _stored(expected, host)
    return host.store.put_blob(_local(offer, host), expected=expected, what=offer.filename)


def _stored(digest: Digest, host: Host) -> Stored:
    path = host.store.blob_path(digest)
    return Stored(digest=digest, size=path.stat().st_size, path=path)


def _unknown(offer: Offer, host: Host) -> Stored:
    """A wheel whose hash the index does not tell: nobody could say what two pieces are pieces of."""
    failures = 0
    while True:
        try:
            return host.store.put_blob(_answer(offer, 0, host), what=offer.filename)
        except NetworkError as error:
            failures += 1
            _endure(error, failures, host)


def _remote(offer: Offer, start: int, host: Host) -> Iterator[bytes]:
    """What follows byte ``start``, with as many requests as that takes."""
    position, failures = start, 0
    while True:
        reached = position
        try:
            for chunk in _answer(offer, position, host):
                position += len(chunk)
                yield chunk
            return
        except NetworkError as error:
            failures = 1 if position >= reached + _FORWARD else failures + 1
            _endure(error, failures, host)


def _endure(error: NetworkError, failures: int, host: Host) -> None:
    """Wait before the next try; IndexUnreachable where the error does not pass, or has come too often."""
    if failures >= ATTEMPTS or not error.temporary:
        raise IndexUnreachable(reason=error) from error
    host.clock.sleep(failures)


def _answer(offer: Offer, start: int, host: Host) -> Iterator[bytes]:
    """One GET. Who knows no ranges sends everything, of which the beginning is left out; who has nothing after
    ``start`` ends it there."""
    environ = package_environment(host)
    login = find_login(offer.url, environ)
    headers = {"Authorization": login.header} if login else {}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    request = Request(verb="GET", url=without_login(offer.url), headers=headers, timeout=120)
    with Http(environ).send(request) as response:
        if start and response.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        _require(response, start, offer)
        skipped = 0 if response.status == HTTPStatus.PARTIAL_CONTENT else start
        yield from _reported(without(response.chunks(), skipped), start, offer, host)


def _require(response: Response, start: int, offer: Offer) -> None:
    status, where = response.status, redacted(offer.url)
    if status in (401, 403, 407):
        raise IndexRefused(reason=f"GET {where} answered {status}")
    if status in _PASSING:
        raise NetworkError(verb="GET", url=where, reason=f"it answered {status}", temporary=True)
    if status == HTTPStatus.OK:
        return
    span = _SPAN.fullmatch(response.headers.get("Content-Range", "").strip())
    if status != HTTPStatus.PARTIAL_CONTENT or not start or not span or int(span[1]) != start:
        asked = f" to what follows byte {start}" if start else ""
        raise WheelUnreadable(filename=offer.filename, reason=f"{where} answered {status}{asked}")


def _local(offer: Offer, host: Host) -> Iterator[bytes]:
    path = Path(unquote(urlsplit(offer.url).path)) if offer.url.startswith("file:") else Path(offer.url)
    if os.name == "nt" and offer.url.startswith("file:"):
        path = Path(str(path).lstrip("\\/"))
    try:
        with path.open("rb") as stream:
            yield from _reported(iter(lambda: stream.read(CHUNK), b""), 0, offer, host)
    except OSError as error:
        raise WheelUnreadable(filename=offer.filename, reason=error.strerror or error) from error


def _reported(chunks: Iterator[bytes], start: int, offer: Offer, host: Host) -> Iterator[bytes]:
    done = start
    for chunk in chunks:
        done += len(chunk)
        host.events.emit(Progress(step=f"fetch {offer.filename}", done=done, total=offer.size, unit="bytes"))
        yield chunk
