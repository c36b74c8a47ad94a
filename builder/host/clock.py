"""The one reader of the time. Times never reach output bytes: those take SOURCE_DATE_EPOCH or the lock's date."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol


def rfc3339(seconds: int) -> str:
    """Whole seconds since 1970 as 2026-11-21T00:00:00Z. Raises ValueError, OverflowError or OSError out of range."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> int:
    """Whole seconds since 1970 of a time as ``rfc3339`` writes it. Raises ValueError for what is no time."""
    return int(datetime.fromisoformat(text).timestamp())


class Clock(Protocol):
    """Seconds since 1970 (``now``), seconds from any fixed point (``monotonic``), and waiting."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def utc_stamp(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601's basic format, as snapshot archives write it: ``20250820T000000Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def seconds_of_date(text: str) -> float:
    """Seconds since 1970 of an RFC 5322 date (``Sat, 12 Sep 2026 07:55:41 UTC``); ValueError for any other text."""
    return parsedate_to_datetime(text).timestamp()
