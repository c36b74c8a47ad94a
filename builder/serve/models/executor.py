"""Threads that run jobs in the order they came, and give each back on the event loop.

Results of several jobs share one wake-up of the loop. The queue has no bound of its own: who submits counts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Job:
    """``work`` runs on a thread and must not raise; then ``done`` runs on the loop."""

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self.work = work
        self.done = done


class Executor:
    def __init__(self, name: str, threads: int, loop: asyncio.AbstractEventLoop) -> None:
        self._urgent: SimpleQueue[Job] = SimpleQueue()
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._submitted: SimpleQueue[None] = SimpleQueue()
        self._returned = Returned(loop)
        for number in range(threads):
            # Daemon threads: a model that hangs must not keep the process alive after its grace period.
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)
        self._submitted.put(None)

    def submit_urgent(self, job: Job) -> None:
        """Goes before the others: what was begun ends before something else begins."""
        self._urgent.put(job)
        self._submitted.put(None)

    def _run(self) -> None:
        while True:
            self._submitted.get()
            try:
                job = self._urgent.get_nowait()
            except Empty:
                job = self._jobs.get()
            job.work()
            if not self._returned.give(job.done):
                return
            del job


class Returned:
    """Calls from threads to the loop, many of them by one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._woken = False

    def give(self, call: Callable[[], None]) -> bool:
        """False where the loop is closed: the server has stopped."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:
                return False
        return True

    def _take(self) -> None:
        # Cleared first: a call that is appended during the loop below may wake us once more, but is never forgotten.
        self._woken = False
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            if self._calls:  # one has failed, which is no reason to forget the others
                self._loop.call_soon(self._take)
