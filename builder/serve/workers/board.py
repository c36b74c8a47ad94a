"""Memory that all processes of a server share: the state of each, and what each told of itself last.

A region for each worker, which alone writes it. What it tells is written beside what it told before, so that nobody
reads half of it. Pages that nobody touches take no memory.
"""

from __future__ import annotations

import mmap

STARTING, READY, LEAVING = range(3)
_STATE, _PID, _CONNECTIONS, _UNANSWERED, _TURN, _LENGTHS = range(6)
_HEAD = 4096
_ROOM = 2 * 2**20
_REGION = _HEAD + 2 * _ROOM


class Board:
    """Made before the processes are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._memory = mmap.mmap(-1, count * _REGION)
        self._cells = memoryview(self._memory).cast("q")

    @property
    def all_ready(self) -> bool:
        return all(self._cells[self._cell(each, _STATE)] == READY for each in range(self.count))

    def set_state(self, worker: int, state: int) -> None:
        self._cells[self._cell(worker, _STATE)] = state

    def leave(self) -> None:
        """None is ready from now on, whichever answers."""
        for each in range(self.count):
            self.set_state(each, LEAVING)

    def pid(self, worker: int) -> int:
        return self._cells[self._cell(worker, _PID)]

    def set_pid(self, worker: int, pid: int) -> None:
        self._cells[self._cell(worker, _PID)] = pid

    def connections(self, worker: int) -> int:
        return self._cells[self._cell(worker, _CONNECTIONS)]

    def set_connections(self, worker: int, count: int) -> None:
        self._cells[self._cell(worker, _CONNECTIONS)] = count

    def unanswered(self, worker: int) -> int:
        return self._cells[self._cell(worker, _UNANSWERED)]

    def set_unanswered(self, worker: int, count: int) -> None:
        self._cells[self._cell(worker, _UNANSWERED)] = count

    def publish(self, worker: int, content: bytes) -> bool:
        """False, and nothing is changed, where there is no room for it."""
        if len(content) > _ROOM:
            return False
        turn = self._cells[self._cell(worker, _TURN)] + 1
        start = self._start(worker, turn)
        self._memory[start : start + len(content)] = content
        self._cells[self._cell(worker, _LENGTHS) + turn % 2] = len(content)
        self._cells[self._cell(worker, _TURN)] = turn
        return True

    def published(self, worker: int) -> bytes:
        """What the worker told last; empty where it has told nothing yet."""
        while turn := self._cells[self._cell(worker, _TURN)]:
            start = self._start(worker, turn)
            content = self._memory[start : start + self._cells[self._cell(worker, _LENGTHS) + turn % 2]]
            if self._cells[self._cell(worker, _TURN)] <= turn + 1 and content:
                return content
        return b""

    def _cell(self, worker: int, name: int) -> int:
        return worker * _REGION // 8 + name

    def _start(self, worker: int, turn: int) -> int:
        return worker * _REGION + _HEAD + turn % 2 * _ROOM
