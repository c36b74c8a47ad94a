"""What library code says while it works. It never prints: it emits one of these values to an ``EventSink``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStarted:
    """A step of the pipeline began."""

    step: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """``done`` of ``total`` (None: unknown) in ``unit`` ("bytes" or a plural noun) within a step."""

    step: str
    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PartProgress:
    """``done`` of ``total`` bytes of one of several parts (a layer) that move at the same time within a step;
    ``outcome`` says how it ended (uploaded, mounted, reused ...), and is empty until then."""

    step: str
    part: str
    done: int
    total: int
    outcome: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFinished:
    """A step ended well after ``seconds`` of wall time; ``cached`` when no work was needed."""

    step: str
    seconds: float
    cached: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """Something that the user should know and that does not stop the work."""

    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Produced:
    """A result that outlives the run: ``name`` is what it is (layout, reference, report), ``value`` where it is."""

    name: str
    value: str


Event = StepStarted | Progress | PartProgress | StepFinished | Warned | Produced


class EventSink(Protocol):
    """Where events go. Must not raise and must be safe to call from several threads."""

    def emit(self, event: Event) -> None: ...


class NullSink:
    """Drops every event."""

    def emit(self, event: Event) -> None:
        return None
