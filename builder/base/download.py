"""Brings the package files of a lock into the store, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.base.lock import LockedPackage
from builder.base.mirror import Mirrors
from builder.events import EventSink, Progress
from builder.host.store import Stored

STREAMS = 4
"""Downloads at a time: enough to hide latency, few enough to be polite to a mirror."""


def fetch_packages(packages: Sequence[LockedPackage], mirrors: Mirrors) -> tuple[Stored, ...]:
    """The files of ``packages`` in their order, each verified. Raises WrongDigest, PackageGone, ArchiveUnreachable."""
    seen = _progress(mirrors.host.events, sum(package.size for package in packages))

    def fetch(package: LockedPackage) -> Stored:
        return mirrors.fetch(package.archive, (package.path,), package.sha256, seen)

    with ThreadPoolExecutor(STREAMS, thread_name_prefix="mbuild-base") as pool:
        waiting = [pool.submit(fetch, package) for package in packages]
        try:
            return tuple(each.result() for each in waiting)
        finally:
            for each in waiting:
                each.cancel()


def _progress(events: EventSink, total: int) -> Callable[[int], None]:
    lock = threading.Lock()
    done = 0

    def seen(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            events.emit(Progress(step="base", done=done, total=total, unit="bytes"))

    return seen
