"""Which waiting calls run next, and which of them together: no thread, no clock and no model in here.

Calls of one group (one model, the same wanted outputs, shapes that differ in the first dim only) may be one run. They
go first come first served: within a group always, between groups by whose oldest call came first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from ..protocol.tensors import Array

ALONE: Hashable = None
"""The group of calls that are never put together with others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """How calls of one model become runs; a row is one step of the first dim."""

    max_rows: int
    delay_ns: int = 0
    """How long the oldest call may be held back until there are more."""
    preferred: tuple[int, ...] = ()
    """Rows that are not held back."""
    shared: bool = True
    """What waits, and what runs, is divided evenly among the threads; off where a run is quicker than a thread."""


class Waiter(Protocol):
    """A call as the queue sees it. ``group`` is ALONE or equal for calls that ``batching`` allows in one run."""

    group: Hashable
    rows: int
    batching: Batching | None
    queued_ns: int
    deadline_ns: int

    @property
    def gone(self) -> bool:
        """Nobody waits for it any more."""


Call = TypeVar("Call", bound=Waiter)


@dataclass(slots=True)
class _Group(Generic[Call]):
    batching: Batching | None
    calls: deque[Call] = field(default_factory=deque)
    rows: int = 0

    def due_ns(self) -> int:
        """When its first run may begin; 0 for at once."""
        batching = self.batching
        if batching is None or not batching.delay_ns or self.rows >= batching.max_rows:
            return 0
        if batching.preferred and self._preferred(batching.max_rows):
            return 0
        return self.calls[0].queued_ns + batching.delay_ns

    def size(self, others_idle: int, running: Sequence[int]) -> int:
        """How many of the oldest calls make up the next run; ``running`` are the rows of each that has not ended."""
        batching = self.batching
        if batching is None:
            return 1
        limit = batching.max_rows
        if preferred := self._preferred(limit):
            return preferred
        if batching.shared:
            # A run of all there is makes its last call wait for the whole of it, and leaves the next thread nothing.
            threads = 1 + others_idle + len(running)
            limit = min(limit, -(-(self.rows + sum(running)) // threads))
        rows = number = 0
        for call in self.calls:
            rows += call.rows
            if number and rows > limit:
                break
            number += 1
        return number

    def _preferred(self, limit: int) -> int:
        """How many of the oldest calls have together the largest preferred number of rows; 0 where there is none."""
        assert self.batching is not None
        rows = best = 0
        for number, call in enumerate(self.calls, 1):
            rows += call.rows
            if rows > limit:
                break
            if rows in self.batching.preferred:
                best = number
        return best


class Waiting(Generic[Call]):
    """The calls that no thread has taken yet. Not safe for threads: whoever shares it locks it."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, _Group[Call]] = {}
        self._running: dict[Hashable, list[int]] = {}

    def __len__(self) -> int:
        return sum(len(group.calls) for group in self._groups.values())

    def __iter__(self) -> Iterator[Call]:
        return (call for group in self._groups.values() for call in group.calls)

    def add(self, call: Call) -> None:
        group = self._groups.get(call.group)
        if group is None:
            group = self._groups[call.group] = _Group(None if call.group is ALONE else call.batching)
        group.calls.append(call)
        group.rows += call.rows

    def take(self, now_ns: int, others_idle: int = 0) -> list[Call]:
        """The calls of the next run, oldest first; empty where nothing is due. They may be gone or late by now. Whoever
        has run them says so (``ended``)."""
        groups = self._groups
        if not groups:
            return []
        due = [group for group in groups.values() if group.due_ns() <= now_ns] if len(groups) > 1 else groups.values()
        group = min(due, key=lambda each: each.calls[0].queued_ns, default=None)
        if group is None or group.due_ns() > now_ns:
            return []
        key = group.calls[0].group
        running = self._running.setdefault(key, [])
        calls = [group.calls.popleft() for _ in range(group.size(others_idle, running))]
        rows = sum(call.rows for call in calls)
        running.append(rows)
        group.rows -= rows
        if not group.calls:
            del groups[key]
        return calls

    def ended(self, calls: Sequence[Call]) -> None:
        """The run of these, which ``take`` gave."""
        key = calls[0].group
        running = self._running[key]
        running.remove(sum(call.rows for call in calls))
        if not running:
            del self._running[key]

    def remove(self, unwanted: Callable[[Call], bool]) -> list[Call]:
        """Takes out the calls that are gone or late, so that no thread sees them."""
        removed: list[Call] = []
        for key, group in list(self._groups.items()):
            kept: deque[Call] = deque()
            for call in group.calls:
                (removed if unwanted(call) else kept).append(call)
            group.calls, group.rows = kept, sum(call.rows for call in kept)
            if not kept:
                del self._groups[key]
        return removed

    def next_deadline_ns(self) -> int | None:
        return min((call.deadline_ns for call in self), default=None)


def stacked(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """One feed out of several whose arrays differ in their first dim only."""
    import numpy as np

    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split(results: Sequence[Array], rows: Sequence[int]) -> list[list[Array]] | None:
    """The part of each call, as views; None where an output does not have all the rows as its first dim."""
    total = sum(rows)
    if any(array.ndim == 0 or array.shape[0] != total for array in results):
        return None
    parts, start = [], 0
    for each in rows:
        parts.append([array[start : start + each] for array in results])
        start += each
    return parts
