"""Which calls make the next run, case by case."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pytest

from builder.serve.models.batching import ALONE, Batching, Waiting


@dataclass(eq=False)
class Waits:
    group: Hashable
    rows: int
    batching: Batching | None
    queued_ns: int
    deadline_ns: int = 0
    gone: bool = False


def waiting(rows: list[int], batching: Batching, group: Hashable = "g") -> Waiting[Waits]:
    found: Waiting[Waits] = Waiting()
    for number, each in enumerate(rows):
        found.add(Waits(group, each, batching, number))
    return found


def taken(queue: Waiting[Waits], now: int = 100, idle: int = 0) -> list[int]:
    return [call.rows for call in queue.take(now, idle)]


@pytest.mark.parametrize(
    ("rows", "batching", "idle", "run"),
    [
        ([1, 1, 1], Batching(max_rows=8), 0, [1, 1, 1]),
        ([1] * 10, Batching(max_rows=8), 0, [1] * 8),
        ([3, 3, 3], Batching(max_rows=8), 0, [3, 3]),
        ([3, 6, 1], Batching(max_rows=8), 0, [3]),
        ([1] * 8, Batching(max_rows=8), 1, [1] * 4),
        ([1] * 3, Batching(max_rows=8), 3, [1]),
        ([4, 1, 1], Batching(max_rows=8), 1, [4]),
        ([1] * 8, Batching(max_rows=8, shared=False), 1, [1] * 8),
        ([1] * 7, Batching(max_rows=8, preferred=(2, 4)), 0, [1] * 4),
        ([2, 3, 1], Batching(max_rows=8, preferred=(4,)), 0, [2, 3, 1]),
    ],
)
def test_the_next_run(rows: list[int], batching: Batching, idle: int, run: list[int]) -> None:
    assert taken(waiting(rows, batching), idle=idle) == run


@pytest.mark.parametrize(
    ("running", "idle", "run"),
    [([], 0, 8), ([4], 0, 6), ([8], 0, 8), ([1], 0, 5), ([8, 8, 8], 0, 8), ([1, 1, 1], 0, 3), ([1], 2, 3)],
)
def test_what_waits_and_what_runs_is_divided_evenly(running: list[int], idle: int, run: int) -> None:
    batching = Batching(max_rows=8)
    queue = waiting([], batching)
    for rows in running:
        queue.add(Waits("g", rows, batching, 0))
        assert taken(queue) == [rows]
    for _ in range(8):
        queue.add(Waits("g", 1, batching, 1))
    assert len(taken(queue, idle=idle)) == run


def test_runs_that_have_ended_and_runs_of_others_count_no_more() -> None:
    queue = waiting([1] * 6, Batching(max_rows=8, shared=False))
    first = queue.take(0)
    for group in ("g", "other"):
        for _ in range(6):
            queue.add(Waits(group, 1, Batching(max_rows=8), 1))
    queue.ended(first)
    assert len(queue.take(9)) == 6
    assert len(queue.take(9)) == 6


def test_a_delay_holds_back_until_the_oldest_is_due_or_the_run_is_full() -> None:
    slow = Batching(max_rows=4, delay_ns=1000)
    queue = waiting([1, 1], slow)
    assert taken(queue, now=999) == []
    assert taken(queue, now=1000) == [1, 1]
    assert taken(waiting([1, 1, 2], slow), now=3) == [1, 1, 2]
    assert taken(waiting([1, 1], Batching(max_rows=4, delay_ns=1000, preferred=(2,))), now=3) == [1, 1]


def test_a_group_that_is_held_back_does_not_hold_back_others() -> None:
    queue = waiting([1], Batching(max_rows=4, delay_ns=1000))
    queue.add(Waits(ALONE, 9, None, 5))
    assert taken(queue, now=10) == [9]
    assert taken(queue, now=10) == []
    assert len(queue) == 1


def test_the_oldest_goes_first_whatever_its_group() -> None:
    queue: Waiting[Waits] = Waiting()
    two = Batching(max_rows=2)
    for at, group in enumerate(["a", "b", ALONE, "a", "b", "a"]):
        queue.add(Waits(group, 1, two, at))
    order = []
    while calls := queue.take(100):
        order.append([call.queued_ns for call in calls])
    assert order == [[0, 3], [1, 4], [2], [5]]


def test_the_next_deadline_is_the_earliest() -> None:
    queue: Waiting[Waits] = Waiting()
    assert queue.next_deadline_ns() is None
    for deadline in (30, 10, 20):
        queue.add(Waits(ALONE, 1, None, 0, deadline))
    assert queue.next_deadline_ns() == 10
    assert [call.deadline_ns for call in queue.remove(lambda call: call.deadline_ns <= 10)] == [10]
    assert queue.next_deadline_ns() == 20
