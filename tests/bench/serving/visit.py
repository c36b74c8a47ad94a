"""A visit: one server, one model, started, measured and ended, with nothing else running.

Every round visits every server, so that what the machine does meanwhile falls on all of them alike. A start is measured
each time, since each visit makes one.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.serving import processes, wrk
from tests.bench.serving.dialects import Dialect, Request, WrongAnswer, check
from tests.bench.serving.models import Model
from tests.bench.serving.servers import Launch, Server

CONCURRENCY = (1, 8, 32)
_START_SECONDS = 90.0
_STEADY_SECONDS = 30.0
_STEADY = 10
_STEP = 0.005


class Failed(Exception):
    """A server that did not start, or did not answer as it should; the text is its log's end or what was wrong."""


@dataclass(frozen=True, slots=True)
class Started:
    """A running server and the seconds from its process's start to its first right answer."""

    process: subprocess.Popen[bytes]
    port: int
    seconds: float


@contextmanager
def started(launch: Launch, model: Model, dialect: Dialect, log: Path) -> Iterator[Started]:
    """Raises Failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            launch.argv,
            env=dict(launch.env),
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _until_right(process, launch.port, model, dialect, log)
            yield Started(process, launch.port, time.perf_counter() - began)
        finally:
            processes.end(process)


def _until_right(process: subprocess.Popen[bytes], port: int, model: Model, dialect: Dialect, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            check(port, model, dialect)
            return
        except (OSError, http.client.HTTPException, WrongAnswer) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"did not start ({error}): {tail(log)}") from error
        time.sleep(_STEP)


def tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-600:]


def visit(server: Server, launch: Launch, model: Model, seconds: int, log: Path) -> dict[str, Any]:
    """The figures of one visit, as they go into the ledger. Raises Failed."""
    first = next(iter(server.forms.values()))
    with started(launch, model, first, log) as running:
        loads = [
            {"form": form, "connections": connections, **figures}
            for form, dialect in server.forms.items()
            for connections, figures in _loads(running, model, dialect, seconds)
        ]
        memory = processes.pss_bytes(processes.tree(running.process.pid))
        _check(running, model, server.forms)
    return {"start": running.seconds, "loads": loads, "memory": memory}


def _loads(running: Started, model: Model, dialect: Dialect, seconds: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    request = dialect.request(model)
    _until_steady(running, model, dialect)
    wrk.load(running.port, request, connections=8, seconds=1)
    for connections in CONCURRENCY:
        processes.settle(running.process.pid)
        yield connections, _measured(running, request, connections, seconds)


def _measured(running: Started, request: Request, connections: int, seconds: int) -> dict[str, Any]:
    """``cpu`` of the server in seconds; ``elsewhere``: cores that neither it nor wrk used, but somebody did."""
    session = running.process.pid
    before, busy_before = processes.cpu_seconds(processes.tree(session)), processes.busy_seconds()
    came = wrk.load(running.port, request, connections=connections, seconds=seconds)
    cpu, busy = processes.cpu_seconds(processes.tree(session)) - before, processes.busy_seconds() - busy_before
    return {**asdict(came), "cpu": cpu, "elsewhere": max(0.0, busy - cpu) / came.seconds}


def _until_steady(running: Started, model: Model, dialect: Dialect) -> None:
    """Until it is right many times in a row: of several processes, one may answer before the others have loaded."""
    deadline, right = time.monotonic() + _STEADY_SECONDS, 0
    while right < _STEADY:
        try:
            _check(running, model, {"": dialect})
            right += 1
        except Failed:
            if time.monotonic() > deadline:
                raise
            right = 0
            time.sleep(_STEP)


def _check(running: Started, model: Model, forms: Mapping[str, Dialect]) -> None:
    try:
        for dialect in forms.values():
            check(running.port, model, dialect)
    except (OSError, http.client.HTTPException, WrongAnswer) as error:
        raise Failed(str(error)) from error
