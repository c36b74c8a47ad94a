"""The doors to this machine: processes, HTTP, the clock, temporary files, the store. Nothing else opens them.

``Host`` bundles abilities, never build state; every stage that touches the world takes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.events import EventSink
from builder.host.clock import Clock
from builder.host.http import Http
from builder.host.run import Runner
from builder.host.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What a stage may use of this machine."""

    run: Runner
    http: Http
    clock: Clock
    store: Store
    events: EventSink
    environ: Mapping[str, str]


__all__ = ["Host"]
