"""Several blobs at a time, counted while they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from builder.errors import RegistryError
from builder.events import EventSink, Progress
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest

PARALLEL = 4
_STEPS_OF_PROGRESS = 200

Item = TypeVar("Item")


class TransferStopped(RegistryError):
    code = "transfer-stopped"
    message = "the transfer was stopped because another one failed"
    hint = "the first error says why"


class Tally:
    """Bytes uploaded, mounted and skipped, out of ``total``; emits progress. Thread-safe."""

    def __init__(self, step: str, total: int, events: EventSink) -> None:
        self._step, self._total, self._events = step, total, events
        self.uploaded = self.mounted = self.skipped = 0
        self._going: dict[Digest, int] = {}
        self._said = 0
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Make every ``counted`` iterator end with TransferStopped at its next chunk."""
        self._stopped.set()

    def counted(self, chunks: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
        """The same chunks; a second call for the same digest starts its count anew (a retry)."""
        sent = 0
        for chunk in chunks:
            if self._stopped.is_set():
                raise TransferStopped()
            yield chunk
            sent += len(chunk)
            with self._lock:
                self._going[digest] = sent
            self._emit()

    def add(self, blob: Descriptor, *, uploaded: int = 0, mounted: int = 0, skipped: int = 0) -> None:
        """A blob is in its place."""
        with self._lock:
            self._going.pop(blob.digest, None)
            self.uploaded += uploaded
            self.mounted += mounted
            self.skipped += skipped
        self._emit()

    def _emit(self) -> None:
        with self._lock:
            done = self.uploaded + self.mounted + self.skipped + sum(self._going.values())
            if done != self._total and abs(done - self._said) * _STEPS_OF_PROGRESS < self._total:
                return
            self._said = done
        self._events.emit(Progress(step=self._step, done=done, total=self._total, unit="bytes"))


def for_each(work: Callable[[Item], None], items: Iterable[Item], tally: Tally) -> None:
    """Do ``work`` for each item, a few at a time. The first error stops the rest and is raised."""
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        going = [pool.submit(work, item) for item in items]
        try:
            for one in going:
                one.result()
        except BaseException:
            tally.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
