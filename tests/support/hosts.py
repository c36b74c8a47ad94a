"""A real ``Host`` for tests: this machine's processes, network and clock, with its own store and environment."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.events import Event
from builder.host import Host
from builder.host.clock import SystemClock
from builder.host.http import Http
from builder.host.run import SystemRunner
from builder.host.store import Store


class RecordedEvents:
    """Keeps the events, so that a test can look at them."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class ImpatientClock(SystemClock):
    """The machine's clock, on which waiting takes no time; ``waits`` holds what was asked for."""

    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class HastyClock(ImpatientClock):
    """Whoever looks at it twice has waited for ``step`` seconds in between."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step, self._looks = step, itertools.count()

    def monotonic(self) -> float:
        return next(self._looks) * self._step


def real_host(cache: Path, environ: Mapping[str, str] | None = None) -> Host:
    """``environ`` None: this process's own."""
    environ = os.environ if environ is None else environ
    return Host(
        run=SystemRunner(),
        http=Http(environ),
        clock=SystemClock(),
        store=Store(cache),
        events=RecordedEvents(),
        environ=environ,
    )


def fresh_host(cache: Path, other: Host) -> Host:
    """A host with a cache of its own, but for the environments of converters, which are those of ``other``."""
    shared, own = (root / "directories" / "environments" for root in (other.store.root, cache))
    shared.mkdir(parents=True, exist_ok=True)
    own.parent.mkdir(parents=True)
    own.symlink_to(shared)
    return real_host(cache)
