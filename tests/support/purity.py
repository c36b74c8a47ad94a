"""Holds unit tests to their word: no process is started and no socket is connected or bound while they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn")
_SOCKETS = ("socket.connect", "socket.bind", "socket.getaddrinfo")
_watching = False
_hooked = False


class Impure(AssertionError):
    """A unit test left its process."""


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _PROCESSES + _SOCKETS:
        raise Impure(f"a unit test must not do this: {event} {arguments[:2]}")


@contextmanager
def only_this_process() -> Iterator[None]:
    """Raises Impure at the forbidden call itself (PEP 578: an audit hook stays, so it is added once and switched)."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _watching = True
    try:
        yield
    finally:
        _watching = False
