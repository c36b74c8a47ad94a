"""Tells how far a program has come that does not tell it itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.events import Progress
from builder.host import Host

_SECONDS = 0.5


@contextmanager
def watched(look: Callable[[], Progress | None], host: Host) -> Iterator[None]:
    """Look again and again, in a thread, while what is inside runs; None: nothing new is known."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            if found := look():
                host.events.emit(found)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
