"""A server in use, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from builder.host import Host
from builder.pipeline.running.attend import Attendant, NotDrained, ServerEnded
from builder.pipeline.running.run import FOR_USE, RunningService
from builder.probe.runner import RunningImage, RunState
from tests.support.hosts import HastyClock


class Scripted:
    """A container of whose end a script tells: ``deaf`` to SIGTERM, or ended ``by_itself`` with a code."""

    address, started, memory_limit, id = ("127.0.0.1", 8000), 0.0, "none", "1"

    def __init__(self, *, deaf: bool = False, by_itself: int | None = None) -> None:
        self._deaf, self._code = deaf, by_itself
        self.heard: list[str] = []

    def log(self, lines: int = 20) -> str:
        return "last words"

    def follow(self) -> Iterator[bytes]:
        yield b"said"

    def state(self) -> RunState:
        return RunState(running=self._code is None, exit_code=self._code)

    def terminate(self) -> None:
        self.heard.append("SIGTERM")
        self._code = None if self._deaf else 0

    def kill(self) -> None:
        self.heard.append("SIGKILL")
        self._code = 137


def attended(container: Scripted, *asked: int) -> tuple[bool, list[object]]:
    """``asked``: what one hears at each look, the last one from then on."""
    looks, told = list(asked), list[object]()
    service = RunningService(
        running=cast(RunningImage, container),
        limits=FOR_USE,
        name="m",
        image="m",
        engine="embedded",
        digest="",
        url="",
        ready_seconds=0.1,
        models=(),
    )

    class Abilities:
        clock = HastyClock(1.0)

    attendant = Attendant(
        service, lambda: looks.pop(0) if len(looks) > 1 else looks[0], cast(Host, cast(Any, Abilities))
    )
    return attendant.attend(told.append, lambda: told.append("stopping")), told


def test_asked_once_it_is_let_answer() -> None:
    container = Scripted()
    drained, told = attended(container, 0, 0, 1)
    assert (drained, container.heard) == (True, ["SIGTERM"])
    assert sorted(map(str, told)) == ["b'said'", "stopping"]


def test_asked_twice_it_is_killed() -> None:
    container = Scripted(deaf=True)
    assert attended(container, 0, 1, 1, 2)[0] is False
    assert container.heard == ["SIGTERM", "SIGKILL"]


def test_one_that_is_deaf_is_killed_after_the_grace() -> None:
    container = Scripted(deaf=True)
    with pytest.raises(NotDrained, match="30 s of SIGTERM"):
        attended(container, 1)
    assert container.heard == ["SIGTERM", "SIGKILL"]


def test_one_that_ends_by_itself_is_an_error_unless_it_ended_well() -> None:
    with pytest.raises(ServerEnded, match=r"exit code 1\).*\nlast words"):
        attended(Scripted(by_itself=1), 0)
    assert attended(Scripted(by_itself=0), 0) == (True, [b"said"])
