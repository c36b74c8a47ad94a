"""The inference threads and what waits for them.

A thread takes the next run (batching.py says which calls that is) as soon as it is free. A call leaves the queue
without a thread when its deadline has passed, and when its client has gone and the place is needed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from .batching import Waiting
from .executor import Returned

if TYPE_CHECKING:
    from ..observe.metrics import ModelMetrics
    from .call import Call

_SWEEP_SECONDS = 0.01
_END_OF_TIME = 2**63


class Runs:
    """All methods run on the loop but those of the threads; ``work`` runs on a thread and must not raise."""

    def __init__(self, threads: int, loop: asyncio.AbstractEventLoop, work: Callable[[list[Call]], None]) -> None:
        self._loop = loop
        self._work = work
        self._waiting: Waiting[Call] = Waiting()
        self._lock = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._free = threads
        self._asleep = 0
        self._returned = Returned(loop)
        self._waking = False
        self._alarm: asyncio.TimerHandle | None = None
        self._swept = 0.0
        self._is_hurried = False
        for number in range(threads):
            # Daemon threads: a model that hangs must not keep the process alive after its grace period.
            threading.Thread(target=self._run, name=f"run-{number}", daemon=True).start()

    def submit(self, call: Call) -> None:
        with self._lock:
            self._waiting.add(call)
        if call.batching is not None and call.batching.delay_ns:
            self._loop.call_later(call.batching.delay_ns / 1e9, self._wake_up)
        if not self._waking:
            # After the other requests that have arrived by now: they may make one run.
            self._waking = True
            self._loop.call_soon(self._wake_up)
        alarm = call.deadline_ns / 1e9
        if self._alarm is None or alarm < self._alarm.when():
            self._set_alarm(alarm)

    def sweep(self) -> None:
        """Calls whose clients have gone make place; not oftener than is worth it."""
        if self._loop.time() - self._swept < _SWEEP_SECONDS:
            return
        with self._lock:
            gone = self._waiting.remove(lambda call: call.gone)
        for call in gone:
            call.ran()
        self._swept = self._loop.time()

    def hurry(self) -> None:
        """Holds nothing back any longer for more to come."""
        self._is_hurried = True
        self._wake_up()

    def waiting(self) -> list[tuple[ModelMetrics, int]]:
        """The counters of whose model, and since when, of each call that no thread has taken yet."""
        with self._lock:
            return [(call.metrics, call.queued_ns) for call in self._waiting]

    def _wake_up(self) -> None:
        self._waking = False
        with self._lock:
            self._wake_one()

    def _wake_one(self) -> None:
        if self._asleep and self._waiting:
            self._asleep -= 1
            self._wake.put(None)

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        """Refuses what is over its deadline now, not when a thread is free."""
        self._alarm = None
        now = time.monotonic_ns()
        with self._lock:
            late = self._waiting.remove(lambda call: call.deadline_ns <= now)
            following = self._waiting.next_deadline_ns()
        if following is not None:
            self._set_alarm(following / 1e9)
        for call in late:
            call.refuse_late()
            call.ran()

    def _run(self) -> None:
        while True:
            with self._lock:
                now = _END_OF_TIME if self._is_hurried else time.monotonic_ns()
                calls = self._waiting.take(now, self._free - 1)
                if calls:
                    self._free -= 1
                    self._wake_one()
                else:
                    self._asleep += 1
            if not calls:
                self._wake.get()
                continue
            self._work(calls)
            with self._lock:
                self._free += 1
                self._waiting.ended(calls)
            for call in calls:
                if not self._returned.give(call.ran):
                    return
            del calls, call
