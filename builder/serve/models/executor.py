"""Threads that run jobs in the order they came, and give each back on the event loop.

Results of several jobs share one wake-up of the loop. The queue has no bound of its own: who submits counts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue


class Job:
    """``work`` runs on a thread and must not raise; then ``done`` runs on the loop."""

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        self.work = work
        self.done = done


class Executor:
    def __init__(self, name: str, threads: int, loop: asyncio.AbstractEventLoop) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._finished: deque[Job] = deque()
        self._loop = loop
        self._woken = False
        for number in range(threads):
            # Daemon threads: a model that hangs must not keep the process alive after its grace period.
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            job.work()
            self._finished.append(job)
            del job
            if not self._woken:
                self._woken = True
                try:
                    self._loop.call_soon_threadsafe(self._give_back)
                except RuntimeError:
                    return  # the loop is closed: the server has stopped

    def _give_back(self) -> None:
        # Cleared first: a job that is appended during the loop below may wake us once more, but is never forgotten.
        self._woken = False
        while self._finished:
            self._finished.popleft().done()
