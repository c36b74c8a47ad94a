"""Tells how far the bytes of a step are, not oftener than worth showing; several threads may write at once."""

from __future__ import annotations

from threading import Lock

from builder.events import EventSink, Progress

_REPORT_EVERY = 4 << 20


class Meter:
    """Counts bytes towards ``total`` and reports them as progress of ``step``."""

    def __init__(self, events: EventSink, step: str, total: int) -> None:
        self._events, self._step, self._total = events, step, total
        self._done = self._told = 0
        self._lock = Lock()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._done - self._told >= _REPORT_EVERY or self._done == self._total:
                self._told = self._done
                self._events.emit(Progress(step=self._step, done=self._done, total=self._total, unit="bytes"))
