"""Servers that were started to be used (`mbuild run`), found again by anybody: their labels say what they are.

An engine keeps the labels of its containers; those of the embedded runner lie in the directory of each.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from builder.host import Host
from builder.host.docker import DockerEngine
from builder.host.docker_calls import EngineFailed
from builder.host.docker_containers import Container
from builder.host.fs import remove_tree
from builder.host.sessions import living
from builder.probe.embedded import FACTS, follow_file
from builder.probe.runner import RunState
from builder.probe.sandbox.keeper import ENDED
from builder.probe.scratch import is_held, log_in, sweep

PLACE = "running"
"""Where the embedded runner's lie in the store."""

NAME, IMAGE, DIGEST, SCHEME = "dev.mbuild.run", "dev.mbuild.run.image", "dev.mbuild.run.digest", "dev.mbuild.run.scheme"
SINCE, OWNER = "dev.mbuild.run.since", "dev.mbuild.run.owner"
"""Labels. ``OWNER`` says who ends it as he ends himself (``owner``); a detached one has none."""

_TICK = 0.05
_KILLED_SECONDS = 10


class Service(Protocol):
    """``engine`` is what runs it; ``id`` that by which that knows it."""

    engine: str

    @property
    def id(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def address(self) -> tuple[str, int]:
        """Where it is reached; the port is 0 where that is over."""
        ...

    def state(self) -> RunState: ...

    def follow(self) -> Iterator[bytes]:
        """All that it says, until it ends."""
        ...

    def said(self) -> bytes:
        """All that it has said."""
        ...

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM, SIGKILL after the grace, and nothing of it is left."""
        ...


class DockerService:
    """See ``Service``."""

    engine = "docker"

    def __init__(self, container: Container, host: Host) -> None:
        self._container, self._clock = container, host.clock
        self.id = container.id[:12]
        self.labels = container.labels
        self.address = container.address

    def state(self) -> RunState:
        state = self._container.state()
        return RunState(running=state.running, exit_code=state.exit_code, out_of_memory=state.out_of_memory)

    def follow(self) -> Iterator[bytes]:
        return self._container.follow()

    def said(self) -> bytes:
        return self._container.logs(tail=0).encode()

    def stop(self, grace_seconds: float) -> None:
        """Who owns it sees that it has ended, and removes it."""
        with suppress(EngineFailed):  # it may be gone already
            self._container.stop(grace_seconds=max(1, round(grace_seconds)))
        deadline = self._clock.monotonic() + _KILLED_SECONDS
        while OWNER in self.labels and not self._container.state().is_gone and self._clock.monotonic() < deadline:
            self._clock.sleep(_TICK)
        self._container.remove()


class EmbeddedService:
    """See ``Service``. Its keeper holds the directory for as long as it runs."""

    engine = "embedded"

    def __init__(self, directory: Path, host: Host) -> None:
        self._directory, self._clock = directory, host.clock
        facts = json.loads((directory / FACTS).read_bytes())
        self.id = str(facts["pid"])
        self.labels: Mapping[str, str] = facts["labels"]
        self.address = (str(facts["host"]), int(facts["port"]))

    def state(self) -> RunState:
        if is_held(self._directory):
            return RunState(running=True)
        with suppress(OSError, ValueError):
            ended = json.loads((self._directory / ENDED).read_bytes())
            return RunState(running=False, exit_code=ended["code"], out_of_memory=ended["out_of_memory"])
        return RunState(running=False)

    def follow(self) -> Iterator[bytes]:
        return follow_file(log_in(self._directory), lambda: self.state().running, self._clock)

    def said(self) -> bytes:
        return log_in(self._directory).read_bytes()

    def stop(self, grace_seconds: float) -> None:
        with suppress(ProcessLookupError):
            keeper = os.pidfd_open(int(self.id))
            try:
                # Now that the process cannot become another one: it is the keeper if the directory is held.
                for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _KILLED_SECONDS)):
                    if is_held(self._directory):
                        signal.pidfd_send_signal(keeper, number)
                        self._wait(seconds)
            finally:
                os.close(keeper)
        with suppress(OSError):  # whoever started it may be removing it, too
            remove_tree(self._directory)

    def _wait(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while is_held(self._directory) and self._clock.monotonic() < deadline:
            self._clock.sleep(_TICK)


def owner(host: Host) -> str:
    """This process, as others find out whether it still lives: its machine and store, and its session there."""
    return f"{_store(host)}#{host.store.token}"


def _store(host: Host) -> str:
    return f"{os.uname().nodename}:{host.store.root}"


def find_services(engine: DockerEngine | None, host: Host) -> tuple[Service, ...]:
    """Those of this store, and of the engine; also those that have ended since and were not stopped yet."""
    return (*_embedded(host), *(DockerService(found, host) for found in (engine.find(NAME) if engine else ())))


def _embedded(host: Host) -> Iterator[Service]:
    for directory in sorted((host.store.root / PLACE).glob("*")):
        with suppress(OSError, ValueError, LookupError):  # just begun, or just gone
            yield EmbeddedService(directory, host)


def sweep_services(engine: DockerEngine | None, host: Host) -> None:
    """Remove what has ended, and what is left of owners who were killed. Whether an owner on another machine, or with
    another store, still lives is not known here."""
    sweep(host.store.root / PLACE, host.clock)
    owners = {presence.token for presence in living(host.store.root)}
    for container in engine.find(NAME) if engine else ():
        store, _, session = container.labels.get(OWNER, "").rpartition("#")
        ended = not container.state().running
        if (store == _store(host) and session not in owners) or (ended and not session):
            container.remove()
