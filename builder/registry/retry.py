"""Tries a call again a few times, when its error says that it may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from builder.errors import MbuildError
from builder.events import EventSink, NullSink, Warned
from builder.host.clock import Clock

ATTEMPTS = 4
FIRST_WAIT = 0.5
LONGEST_WAIT = 300.0
"""Who asks for a longer wait (Retry-After) is not waited for at all: the error says how long."""

_WORTH_SAYING = 5.0

Result = TypeVar("Result")


class Patience:
    """For one piece of work: ATTEMPTS tries, 0.5 s, 1 s and 2 s apart, or as the registry asked."""

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._clock, self._events = clock, events
        self._failures = 0

    def endure(self, error: MbuildError) -> None:
        """Wait before the next try; raises the error where it does not pass, or has come too often."""
        self._failures += 1
        asked = error.facts.get("retry_after")
        wait = asked if isinstance(asked, float) else FIRST_WAIT * 2 ** (self._failures - 1)
        if not error.temporary or self._failures >= ATTEMPTS or wait > LONGEST_WAIT:
            raise error
        if wait > _WORTH_SAYING:
            self._events.emit(Warned(message=f"{error}; the next try is in {wait:.0f} s"))
        self._clock.sleep(wait)

    def renew(self) -> None:
        """The work came forward: failures until now do not count any more."""
        self._failures = 0


class Retry:
    """``retry(call)``: at most ATTEMPTS calls."""

    def __init__(self, clock: Clock, events: EventSink | None = None) -> None:
        self._clock, self._events = clock, events or NullSink()

    def patience(self) -> Patience:
        return Patience(self._clock, self._events)

    def __call__(self, call: Callable[[], Result]) -> Result:
        patience = self.patience()
        while True:
            try:
                return call()
            except MbuildError as error:
                patience.endure(error)
