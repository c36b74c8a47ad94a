"""Timed steps: each tells the event sink when it starts and ends, and is remembered for the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from builder.events import StepFinished, StepStarted
from builder.host import Host


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """A finished step: wall ``seconds``, and ``cached`` when it only read what the store already had."""

    name: str
    seconds: float
    cached: bool
    detail: str

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "seconds": round(self.seconds, 3), "cached": self.cached, "detail": self.detail}


@dataclass(slots=True)
class Note:
    """What a running step wants to say of itself: one short phrase, and of an effect whether it was there already."""

    detail: str = ""
    is_cached: bool = False


class Steps:
    """Call it with a step's name for a ``with`` block; ``records`` holds the finished ones in order."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.records: list[StepRecord] = []

    def __call__(self, name: str) -> AbstractContextManager[Note]:
        """A step whose result the store keeps: it was cached when it put nothing new there."""
        store = self._host.store
        written = store.written
        return self._timed(name, lambda _: store.written == written)

    def effect(self, name: str) -> AbstractContextManager[Note]:
        """A step that acts on the world outside the store; it says itself where nothing was to be done."""
        return self._timed(name, lambda note: note.is_cached)

    @contextmanager
    def _timed(self, name: str, cached: Callable[[Note], bool]) -> Iterator[Note]:
        note, clock, events = Note(), self._host.clock, self._host.events
        events.emit(StepStarted(step=name))
        began = clock.monotonic()
        yield note
        record = StepRecord(name=name, seconds=clock.monotonic() - began, cached=cached(note), detail=note.detail)
        self.records.append(record)
        events.emit(StepFinished(step=name, seconds=record.seconds, cached=record.cached, detail=note.detail))
