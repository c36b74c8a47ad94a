"""Tries a call again a few times, when its error says that it may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from builder.errors import MbuildError
from builder.host.clock import Clock

ATTEMPTS = 4
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0

Result = TypeVar("Result")


class Retry:
    """``retry(call)``: at most ATTEMPTS calls. Waits 0.5 s, 1 s, 2 s, or what the registry asked for (at most 30 s)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, call: Callable[[], Result]) -> Result:
        for attempt in range(ATTEMPTS - 1):
            try:
                return call()
            except MbuildError as error:
                if not error.temporary:
                    raise
                asked = error.facts.get("retry_after")
                wait = asked if isinstance(asked, float) else FIRST_WAIT * 2**attempt
                self._clock.sleep(min(wait, LONGEST_WAIT))
        return call()
