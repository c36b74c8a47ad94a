"""Structured logs: one JSON object on one line of stderr for each event."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from typing import TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Writes events of its level and above. ``failure`` adds the traceback at debug only."""

    def __init__(self, level: str, stream: TextIO | None = None) -> None:
        self._floor = LEVELS[level]
        self._stream = stream or sys.stderr

    def event(self, level: str, message: str, **facts: object) -> None:
        if LEVELS[level] < self._floor:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        line = json.dumps({"time": stamp, "level": level, "message": message, **facts}, default=str)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # a log that nobody can read must not stop the service

    def plain(self, sentence: str) -> None:
        """For people who look at what a container said, on a line of its own."""
        try:
            self._stream.write(f"{sentence}\n")
        except (OSError, ValueError):
            return

    def failure(self, message: str, error: BaseException, **facts: object) -> None:
        if self._floor <= LEVELS["debug"]:
            facts["traceback"] = "".join(traceback.format_exception(error))
        self.event("error", message, **facts)


class Rarely:
    """For lines that anybody could cause at will: one in a while, with how many it stands for."""

    def __init__(self, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = -float("inf")
        self._left_out = 0

    def due(self) -> int:
        """How many lines this one stands for; 0: it is left out."""
        self._left_out += 1
        if self._clock() < self._next:
            return 0
        self._next = self._clock() + self._seconds
        count, self._left_out = self._left_out, 0
        return count
