"""What stands around the service where settings ask for it: the gate before it, those who hear of each request, and in
an image for a GPU what was found out about that.

Nothing of it is imported otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .device import Device, begin_survey
from .environment import surroundings
from .http.connection import Connection, Connections
from .observe.logs import Log
from .settings import Settings

if TYPE_CHECKING:
    from .gpu.survey import Survey
    from .guard.gate import Gate
    from .observe.exposition import Family
    from .observe.traces import Tracer

_TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Around:
    """Made before the processes part, so that what is set wrong is said once."""

    gate: Gate | None
    tracer: Tracer | None
    survey: Survey | None

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str], log: Log) -> Around:
        """Raises SettingError and CannotStart. No thread may run yet."""
        return cls(_gate(settings, log), _tracer(surroundings(environ), log), begin_survey(settings))

    def join(self, connections: Connections, log: Log) -> Callable[[], asyncio.BaseProtocol]:
        """Takes its places; what makes a connection for each client."""
        share = connections.settings.access_log
        if share or self.tracer:
            from .observe.requests import Requests

            told = Requests(log, share, self.tracer, self.gate.caller if self.gate else None)
            connections.answered = told.answered
        if self.gate is not None:
            return self.gate.stand_before(connections)
        return lambda: Connection(connections)

    @property
    def figures(self) -> list[Callable[[], Iterable[Family]]]:
        """For /metrics."""
        return [each.families for each in (self.gate, self.tracer) if each]

    def watch(self, device: Device, figures: list[Callable[[], Iterable[Family]]]) -> None:
        """Figures of a GPU for /metrics, in an image for one."""
        if self.survey is not None:
            from .gpu.figures import GpuFigures

            figures.append(GpuFigures(device).families)

    def facts(self) -> dict[str, object]:
        """For the line in the log that says how the server listens."""
        return self.gate.facts() if self.gate else {}

    def tick(self) -> None:
        if self.gate is not None:
            self.gate.tick()

    def start(self) -> None:
        """Raises RuntimeError where there can be no thread more."""
        if self.tracer is not None:
            self.tracer.start()

    def close(self, seconds: float) -> None:
        if self.tracer is not None:
            self.tracer.close(seconds)


def _gate(settings: Settings, log: Log) -> Gate | None:
    if not settings.guarded:
        return None
    from .guard.gate import Gate
    from .pages import pages

    return Gate(settings, log, pages())


def _tracer(environ: Mapping[str, str], log: Log) -> Tracer | None:
    """Traces are worth a warning, never the service."""
    wanted = any(environ.get(name, "").strip() for name in _TRACES)
    if not wanted and environ.get("OTEL_TRACES_EXPORTER", "none").strip() in ("", "none"):
        return None
    from .observe.otel_settings import trace_settings
    from .observe.traces import Tracer

    try:
        settings = trace_settings(environ, lambda message: log.event("warning", message))
        return Tracer(settings, log) if settings is not None else None
    except OSError as error:
        log.event("warning", f"no traces: {error}")
        return None
