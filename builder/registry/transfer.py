"""Several blobs at a time, counted while they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from builder.errors import RegistryError
from builder.events import EventSink, PartProgress, Progress
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest

PARALLEL = 4
_STEPS_OF_PROGRESS = 200

Item = TypeVar("Item")


class TransferStopped(RegistryError):
    code = "transfer-stopped"
    message = "the transfer was stopped because another one failed"
    hint = "the first error says why"


class Outcome(StrEnum):
    """How a blob came to where it is: sent, fetched, taken over from another repository, or there before."""

    UPLOADED = "uploaded"
    DOWNLOADED = "downloaded"
    MOUNTED = "mounted"
    REUSED = "reused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """``size`` bytes of one role (base, model, config, manifest ...) that came there in one way."""

    role: str
    outcome: Outcome
    size: int


def bytes_of(moved: Iterable[Moved], outcome: Outcome) -> int:
    return sum(one.size for one in moved if one.outcome is outcome)


class Tally:
    """What became of each blob, out of ``total`` bytes; emits progress of the whole and of each blob. Thread-safe."""

    def __init__(self, step: str, total: int, events: EventSink) -> None:
        self._step, self._total, self._events = step, total, events
        self._done: dict[Digest, Moved] = {}
        self._going: dict[Digest, int] = {}
        self._said: dict[Digest | None, int] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()

    @property
    def moved(self) -> tuple[Moved, ...]:
        """One line for each role and outcome, in the order in which they first came."""
        sums: dict[tuple[str, Outcome], int] = {}
        for one in self._done.values():
            sums[one.role, one.outcome] = sums.get((one.role, one.outcome), 0) + one.size
        return tuple(Moved(role=role, outcome=outcome, size=size) for (role, outcome), size in sums.items())

    def stop(self) -> None:
        """Make everybody who reports end with TransferStopped."""
        self._stopped.set()

    def reach(self, blob: Descriptor, role: str, position: int) -> None:
        """So many bytes of a blob are there; less than before where it began anew. Raises TransferStopped."""
        if self._stopped.is_set():
            raise TransferStopped()
        with self._lock:
            self._going[blob.digest] = position
            news = self._news(blob.digest, position, blob.size)
        if news:
            part = f"{role} {blob.digest.short}"
            self._events.emit(PartProgress(step=self._step, part=part, done=position, total=blob.size))
        self._emit()

    def counted(self, chunks: Iterable[bytes], blob: Descriptor, role: str) -> Iterator[bytes]:
        """The same chunks, reported."""
        position = 0
        for chunk in chunks:
            position += len(chunk)
            self.reach(blob, role, position)
            yield chunk

    def add(self, blob: Descriptor, role: str, outcome: Outcome) -> None:
        """A blob is in its place."""
        with self._lock:
            self._going.pop(blob.digest, None)
            self._done[blob.digest] = Moved(role=role, outcome=outcome, size=blob.size)
        part = f"{role} {blob.digest.short}"
        self._events.emit(
            PartProgress(step=self._step, part=part, done=blob.size, total=blob.size, outcome=outcome.value)
        )
        self._emit()

    def _emit(self) -> None:
        with self._lock:
            done = sum(one.size for one in self._done.values()) + sum(self._going.values())
            news = self._news(None, done, self._total)
        if news:
            self._events.emit(Progress(step=self._step, done=done, total=self._total, unit="bytes"))

    def _news(self, of: Digest | None, done: int, total: int) -> bool:
        """Whether a count is far enough from what was last said of it."""
        if done != total and abs(done - self._said.get(of, 0)) * _STEPS_OF_PROGRESS < total:
            return False
        self._said[of] = done
        return True


def for_each(work: Callable[[Item], None], items: Iterable[Item], tally: Tally) -> None:
    """Do ``work`` for each item, a few at a time. The first error stops the rest and is raised."""
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        going = [pool.submit(work, item) for item in items]
        try:
            for one in wait(going, return_when=FIRST_EXCEPTION).done:
                one.result()
        except BaseException:
            tally.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
