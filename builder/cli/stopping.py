"""The signals that ask a program to end: until it is ready for them they interrupt it, afterwards they are counted."""

from __future__ import annotations

import signal
from types import FrameType

_ASKING = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


class StopSignals:
    """As a context; what was set before is set again afterwards. What the caller ignores (nohup) stays ignored."""

    def __init__(self) -> None:
        self._asked = 0
        self._counts = False
        self._before = {number: signal.getsignal(number) for number in _ASKING}

    def __enter__(self) -> StopSignals:
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def count(self) -> None:
        """From now on nothing is interrupted."""
        self._counts = True

    def asked(self) -> int:
        """How often, since they are counted."""
        return self._asked

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self._counts:
            raise KeyboardInterrupt
        self._asked += 1
