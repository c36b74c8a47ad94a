"""Makes the ``Host`` of a command-line run: the real doors, the user's cache, the sink that fits the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from builder.cli.sinks import choose_sink
from builder.events import NullSink
from builder.host import Host
from builder.host.clock import SystemClock
from builder.host.http import Http
from builder.host.run import SystemRunner
from builder.host.store import Store


def cache_directory(environ: Mapping[str, str] | None = None) -> Path:
    """MBUILD_CACHE, else ``mbuild`` in XDG_CACHE_HOME, else ``~/.cache/mbuild``."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("MBUILD_CACHE"):
        return Path(chosen).expanduser().resolve()
    parent = environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "mbuild"


@contextmanager
def host_session(*, quiet: bool = False, settings: Mapping[str, str] | None = None) -> Iterator[Host]:
    """A host for one command; the sink is closed at the end, also on an error. ``settings`` are what options say that
    could also stand in the environment: they count for mbuild, and no other process sees them."""
    environ = {**os.environ, **(settings or {})}
    with nullcontext(NullSink()) if quiet else closing(choose_sink()) as sink:
        yield Host(
            run=SystemRunner(),
            http=Http(environ),
            clock=SystemClock(),
            store=Store(cache_directory()),
            events=sink,
            environ=environ,
        )
