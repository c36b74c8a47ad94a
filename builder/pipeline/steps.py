"""Timed steps: each tells the event sink when it starts and ends, and is remembered for the table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    """What a running step wants to say of itself: one short phrase."""

    detail: str = ""


class Steps:
    """Call it with a step's name for a ``with`` block; ``records`` holds the finished ones in order."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.records: list[StepRecord] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[Note]:
        note, clock, store = Note(), self._host.clock, self._host.store
        self._host.events.emit(StepStarted(step=name))
        began, written = clock.monotonic(), store.written
        yield note
        seconds, cached = clock.monotonic() - began, store.written == written
        self.records.append(StepRecord(name=name, seconds=seconds, cached=cached, detail=note.detail))
        self._host.events.emit(StepFinished(step=name, seconds=seconds, cached=cached, detail=note.detail))
