"""Starts the workers, waits for signals, and ends with them. It answers no request itself.

A worker that ends by itself ends the server, with exit code 1, once the others have answered what they have: what
killed it (a fault in a library, too little memory) would kill the next one, and whoever runs the container restarts it
with the patience and the alarms that belong to that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from ..observe.logs import Log
from .board import Board
from .peers import Inboxes, Worker
from .sums import Told

_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1)
_IDLE_SECONDS = 3600.0
_BEYOND_GRACE_SECONDS = 5.0


class Supervisor:
    """``run`` forks, so that nothing else may run in this process: no thread, no loop."""

    def __init__(self, count: int, grace: float, log: Log, facts: Callable[[], dict[str, object]]) -> None:
        self._board = Board(count)
        self._grace = grace
        self._log = log
        self._facts = facts
        self._workers: dict[int, int] = {}
        self._announced = False
        self._end: float | None = None
        self._failed = False

    def run(self, listener: socket.socket, serve: Callable[[Worker], int]) -> int:
        """The exit code of the server; ``serve`` is called in each worker and gives that worker's."""
        inboxes, own = Inboxes(self._board.count), os.getpid()
        life, alive = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        for number in range(self._board.count):
            try:
                worker = os.fork()
            except OSError as error:
                what = "Cannot start a process (MBUILD_PROCESSES, or this container's limit of processes)"
                self._log.failure(f"{what}: {error.strerror}.", error)
                self._failed = True
                break
            if worker == 0:
                os.close(alive)
                _become(serve, Worker(number, self._board, inboxes, life, own))
            self._workers[worker] = number
        os.close(life)
        inboxes.close()
        listener.close()
        if self._failed:
            self._stop()
        return self._watch()

    def _watch(self) -> int:
        while self._workers:
            seconds = _IDLE_SECONDS if self._end is None else max(0.0, self._end - time.monotonic())
            received = signal.sigtimedwait(_WATCHED, seconds)
            number = received.si_signo if received is not None else 0
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGUSR1:
                self._announce()
            elif number == signal.SIGCHLD:
                self._reap()
            elif self._end is not None:
                self._kill()
        unanswered = sum(map(self._board.unanswered, range(self._board.count)))
        self._log.event("info", "stopped", unanswered=unanswered)
        return int(self._failed)

    def _announce(self) -> None:
        if self._announced or not self._board.all_ready:
            return
        self._announced = True
        facts = Told.from_bytes(self._board.published(0)).facts
        self._log.event("info", "ready", **{**facts, **self._facts()}, processes=self._board.count)

    def _stop(self) -> None:
        if self._end is not None:
            return
        self._end = time.monotonic() + self._grace + _BEYOND_GRACE_SECONDS
        connections = sum(map(self._board.connections, range(self._board.count)))
        self._board.leave()
        self._log.event("info", "stopping", connections=connections, grace=self._grace)
        for worker in self._workers:
            os.kill(worker, signal.SIGTERM)

    def _kill(self) -> None:
        self._failed = True
        self._log.event("error", "workers did not end in time: killed", workers=sorted(self._workers.values()))
        for worker in self._workers:
            os.kill(worker, signal.SIGKILL)
        self._end = time.monotonic() + _BEYOND_GRACE_SECONDS

    def _reap(self) -> None:
        """Signals of several children may be one: all that have ended."""
        while self._workers:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return
            number = self._workers.pop(ended, None)
            if number is None:
                continue  # as the first process of a container, we also bury what others left
            code = os.waitstatus_to_exitcode(status)
            if self._end is None:
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                self._log.event("error", f"a worker {how}: the server stops", worker=number)
                self._failed = True
                self._stop()
            elif code not in (0, -signal.SIGTERM):  # the signal, before the worker could catch it
                self._failed = True


def _become(serve: Callable[[Worker], int], worker: Worker) -> None:
    """Never returns."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        code = serve(worker)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
