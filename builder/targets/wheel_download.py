"""Brings a wheel file into the store, from the user's own index, through the user's own proxy and certificates."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import ResolutionError
from builder.events import Progress
from builder.host import Host
from builder.host.http import CHUNK, Http, NetworkError, Request, redacted
from builder.host.index_login import find_login, without_login
from builder.host.store import Stored
from builder.host.uv import IndexRefused, IndexUnreachable, package_environment
from builder.oci.digest import Digest
from builder.targets.pylock import Offer

ATTEMPTS = 3


class WheelUnreadable(ResolutionError):
    code = "wheel-unreadable"
    message = "the wheel {filename} cannot be fetched: {reason}"
    hint = "check the index or the find-links directory that offers it; run again if it was a passing fault"


def download_wheel(offer: Offer, host: Host) -> Stored:
    """The wheel as a blob. Raises IndexUnreachable, IndexRefused, WheelUnreadable, or WrongDigest for other bytes."""
    expected = Digest.from_hex(offer.sha256) if offer.sha256 else None
    if expected and host.store.has_blob(expected):
        path = host.store.blob_path(expected)
        return Stored(digest=expected, size=path.stat().st_size, path=path)
    remote = urlsplit(offer.url).scheme in ("http", "https")
    chunks = _remote if remote else _local
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return host.store.put_blob(
                _reported(chunks(offer, host), offer, host), expected=expected, what=offer.filename
            )
        except NetworkError as error:
            if attempt == ATTEMPTS or not error.temporary:
                raise IndexUnreachable(reason=error) from error
            host.clock.sleep(attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _remote(offer: Offer, host: Host) -> Iterator[bytes]:
    environ = package_environment(host)
    login = find_login(offer.url, environ)
    headers = {"Authorization": login.header} if login else {}
    request = Request(verb="GET", url=without_login(offer.url), headers=headers, timeout=120)
    with Http(environ).send(request) as response:
        if response.status in (401, 403, 407):
            raise IndexRefused(reason=f"GET {redacted(offer.url)} answered {response.status}")
        if response.status != 200:
            raise WheelUnreadable(filename=offer.filename, reason=f"{redacted(offer.url)} answered {response.status}")
        yield from response.chunks()


def _local(offer: Offer, host: Host) -> Iterator[bytes]:
    path = Path(unquote(urlsplit(offer.url).path)) if offer.url.startswith("file:") else Path(offer.url)
    if os.name == "nt" and offer.url.startswith("file:"):
        path = Path(str(path).lstrip("\\/"))
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk
    except OSError as error:
        raise WheelUnreadable(filename=offer.filename, reason=error.strerror or error) from error


def _reported(chunks: Iterator[bytes], offer: Offer, host: Host) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        host.events.emit(Progress(step=f"fetch {offer.filename}", done=done, total=offer.size, unit="bytes"))
        yield chunk
