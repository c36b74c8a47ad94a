"""One worker among several: it tells the others what it counted when they ask, and asks them.

Questions and answers are short datagrams; what is told lies on the board. Who does not answer within a second is taken
by what it told last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from ..observe.exposition import Family, gauge
from .board import READY, Board
from .sums import Told, together

_MESSAGE = struct.Struct("<BHI")
_ASK, _TOLD = range(2)
_PATIENCE_SECONDS = 1.0

Then = Callable[[Told], None]


class Inboxes:
    """A pair of sockets for each worker: one to read its mail from, one for all others to send it to."""

    def __init__(self, count: int) -> None:
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for pair in self.pairs:
            for end in pair:
                end.setblocking(False)

    def close(self) -> None:
        for pair in self.pairs:
            for end in pair:
                end.close()


class Worker:
    """Made in the process that it stands for. ``life`` can be read from once ``supervisor`` has ended."""

    def __init__(self, number: int, board: Board, inboxes: Inboxes, life: int, supervisor: int) -> None:
        self.number = number
        self.board = board
        self._supervisor = supervisor
        self._inbox = inboxes.pairs[number][0]
        self._others = {each: pair[1] for each, pair in enumerate(inboxes.pairs) if each != number}
        self._life = life
        self._asked: dict[int, tuple[set[int], Then, asyncio.TimerHandle]] = {}
        self._token = 0
        self._loop: asyncio.AbstractEventLoop
        self._told: Callable[[], Told]

    def join(self, told: Callable[[], Told], stop: Callable[[], None]) -> None:
        """On the loop. ``told``: what this worker says of itself; ``stop`` is called when it is left alone."""
        self._loop = asyncio.get_running_loop()
        self._told = told
        self.board.set_pid(self.number, os.getpid())
        self._loop.add_reader(self._inbox, self._read)
        self._loop.add_reader(self._life, self._orphaned, stop)

    def say_ready(self, facts: dict[str, object]) -> None:
        told = self._told()
        self.board.publish(self.number, Told(told.families, told.statistics, facts).to_bytes())
        self.board.set_state(self.number, READY)
        if os.getppid() == self._supervisor:
            os.kill(self._supervisor, signal.SIGUSR1)

    def others_have_fewer(self, connections: int) -> bool:
        """Says how many this worker has, and whether one of the others has fewer."""
        self.board.set_connections(self.number, connections)
        return min(map(self.board.connections, self._others)) < connections

    def gather(self, then: Then) -> None:
        """Calls back with what all workers tell."""
        self._token = (self._token + 1) % 2**32
        timer = self._loop.call_later(_PATIENCE_SECONDS, self._finish, self._token)
        self._asked[self._token] = (set(self._others), then, timer)
        for each in self._others:
            self._send(each, _ASK, self._token)

    def _orphaned(self, stop: Callable[[], None]) -> None:
        self._loop.remove_reader(self._life)
        stop()

    def _send(self, to: int, kind: int, token: int) -> None:
        try:
            self._others[to].send(_MESSAGE.pack(kind, self.number, token))
        except OSError:
            return  # its mail piles up, or it has ended: the timer stands in

    def _read(self) -> None:
        while True:
            try:
                kind, sender, token = _MESSAGE.unpack(self._inbox.recv(_MESSAGE.size))
            except OSError:
                return
            if kind == _ASK:
                self.board.publish(self.number, self._told().to_bytes())
                self._send(sender, _TOLD, token)
            elif token in self._asked:
                missing = self._asked[token][0]
                missing.discard(sender)
                if not missing:
                    self._finish(token)

    def _finish(self, token: int) -> None:
        _, then, timer = self._asked.pop(token)
        timer.cancel()
        contents = [self.board.published(each) for each in self._others]
        others = [Told.from_bytes(content) for content in contents if content]
        then(together([self._told(), *others, Told(self._memory(), [])]))

    def _memory(self) -> list[Family]:
        """Of all processes; the sum of their resident memories would count what they share for each of them."""
        kilobytes = 0
        for pid in (self._supervisor, *map(self.board.pid, range(self.board.count))):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                return []  # this kernel does not tell
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        about = "Memory of all processes in bytes, what they share counted once (PSS)"
        return [gauge("mbuild_memory_bytes", about, kilobytes * 1024)]
