"""Whatever waits and whatever is taken: nothing is mixed, lost or run twice, and each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from builder.serve.models.batching import ALONE, Batching, Waiting, split, stacked


@dataclass(eq=False)
class Waits:
    group: Hashable
    rows: int
    batching: Batching | None
    queued_ns: int
    deadline_ns: int = 2**62
    gone: bool = False


batchings = st.builds(
    Batching,
    max_rows=st.integers(2, 12),
    delay_ns=st.sampled_from([0, 5, 50]),
    preferred=st.lists(st.integers(1, 12), max_size=3).map(tuple),
    shared=st.booleans(),
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Waits]:
    """Calls of up to three groups, each with one way of batching, and of none."""
    ways = dict(enumerate(draw(st.lists(batchings, min_size=1, max_size=3))))
    found, now = [], 0
    for _ in range(draw(st.integers(1, 30))):
        now += draw(st.integers(0, 10))
        group = draw(st.sampled_from([ALONE, *ways]))
        rows = draw(st.integers(1, 20)) if group is ALONE else draw(st.integers(1, ways[group].max_rows))
        found.append(Waits(group, rows, None if group is ALONE else ways[group], now))
    return found


def taken(waiting: Waiting[Waits], now: int, others_idle: int) -> list[list[Waits]]:
    runs = []
    while calls := waiting.take(now, others_idle):
        runs.append(calls)
    return runs


@given(arrivals(), st.integers(0, 3), st.data())
def test_runs_are_of_one_group_within_bounds_and_in_order(calls: list[Waits], idle: int, draw: st.DataObject) -> None:
    waiting: Waiting[Waits] = Waiting()
    runs = []
    for call in calls:
        waiting.add(call)
        if draw.draw(st.booleans()):
            runs += taken(waiting, call.queued_ns, idle)
    runs += taken(waiting, calls[-1].queued_ns + 50, idle)
    assert len(waiting) == 0
    assert sorted(map(id, calls)) == sorted(id(call) for run in runs for call in run)
    for run in runs:
        assert len({call.group for call in run}) == 1
        if run[0].batching is None:
            assert len(run) == 1
        else:
            assert len(run) == 1 or sum(call.rows for call in run) <= run[0].batching.max_rows
    for group in {call.group for call in calls}:
        order = [call for run in runs for call in run if call.group == group]
        assert order == [call for call in calls if call.group == group]


@given(arrivals())
def test_nothing_is_held_back_longer_than_its_delay(calls: list[Waits]) -> None:
    waiting: Waiting[Waits] = Waiting()
    for call in calls:
        for run in taken(waiting, call.queued_ns, 0):
            assert run[0].batching is None or run[0].batching.delay_ns or run[0].queued_ns <= call.queued_ns
        waiting.add(call)
    now = calls[-1].queued_ns
    taken(waiting, now, 0)
    held = waiting.remove(lambda _: True)
    assert all(call.batching is not None and call.queued_ns + call.batching.delay_ns > now for call in held)


@given(arrivals(), st.data())
def test_what_leaves_the_queue_is_not_run_and_leaves_the_others_in_order(
    calls: list[Waits], draw: st.DataObject
) -> None:
    waiting: Waiting[Waits] = Waiting()
    for call in calls:
        waiting.add(call)
        call.gone = draw.draw(st.booleans())
    removed = waiting.remove(lambda call: call.gone)
    assert sorted(map(id, removed)) == sorted(id(call) for call in calls if call.gone)
    assert len(waiting) == len(calls) - len(removed)
    runs = taken(waiting, calls[-1].queued_ns + 50, 0)
    assert not [call for run in runs for call in run if call.gone]
    for group in {call.group for call in calls}:
        order = [call for run in runs for call in run if call.group == group]
        assert order == [call for call in calls if call.group == group and not call.gone]


def alone(feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """A computation of each row by itself, with outputs of two ranks."""
    return [feeds["a"] * 2 + feeds["b"][:, None], feeds["b"] * feeds["b"]]


rows = st.lists(st.integers(1, 5), min_size=1, max_size=6)
numbers = st.integers(-1000, 1000)


@given(rows, st.integers(0, 4), st.data())
def test_a_part_is_exactly_what_its_own_run_gives_and_a_view(sizes: list[int], width: int, draw: st.DataObject) -> None:
    feeds = [
        {
            "a": draw.draw(arrays.arrays(np.int64, (size, width), elements=numbers)),
            "b": draw.draw(arrays.arrays(np.int64, (size,), elements=numbers)),
        }
        for size in sizes
    ]
    results = alone(stacked(feeds))
    parts = split(results, sizes)
    assert parts is not None
    for feed, part in zip(feeds, parts, strict=True):
        for got, wanted, whole in zip(part, alone(feed), results, strict=True):
            assert np.array_equal(got, wanted)
            assert got.base is whole or got.size == 0


@given(rows, st.integers(0, 3))
def test_an_output_that_does_not_have_the_rows_is_not_split(sizes: list[int], off: int) -> None:
    total = sum(sizes)
    shapes: list[tuple[int, ...]] = [(total + 1, 2), (), (2 * total,), (0,)]
    assert split([np.zeros((total,)), np.zeros(shapes[off])], sizes) is None


@given(st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=3), min_size=1, max_size=4))
def test_strings_are_stacked_as_they_are(texts: list[list[str]]) -> None:
    feeds = [{"x": np.array(each, object)} for each in texts]
    assert stacked(feeds)["x"].tolist() == [text for each in texts for text in each]
