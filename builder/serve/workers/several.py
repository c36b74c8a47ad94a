"""What several processes have in common, and what each of them gets."""

from __future__ import annotations

import gc
from contextlib import suppress
from dataclasses import replace

from ..device import Device, usual_threads
from ..limits import largest_body, memory
from ..settings import Settings


def share(settings: Settings, count: int, device: Device) -> Settings:
    """The settings of one of ``count`` processes: its part of what the container may use."""
    return replace(
        settings,
        threads=settings.threads or max(1, usual_threads(device) // count),
        queue=-(-settings.queue // count),
        max_connections=-(-settings.max_connections // count),
        max_body=min(settings.max_body, largest_body(memory() // count)),
    )


def import_all() -> None:
    """Before the processes part, so that they have the libraries' memory in common. What fails here fails there."""
    with suppress(Exception):
        from ..models import batch_check, call, engine, golden, inference, runs  # noqa: F401
        from ..protocol import routes  # noqa: F401
    gc.collect()
    gc.freeze()
    gc.enable()
