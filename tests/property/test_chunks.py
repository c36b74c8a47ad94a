"""Chunks of weights depend on names and sizes alone, and a tensor more or less disturbs what lies around it only."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builder.plan import chunks
from builder.plan.chunks import MOST_CHUNKS, plan_chunks

LIMIT = 1000

names = st.text("abc.", min_size=1, max_size=6)
tensors = st.dictionaries(names, st.integers(1, LIMIT * 2), min_size=1, max_size=40)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", LIMIT)


def contents(sizes: dict[str, int]) -> set[tuple[str, tuple[tuple[str, int], ...]]]:
    return {(chunk.name, chunk.tensors) for chunk in plan_chunks(sizes)}


@given(tensors)
def test_every_tensor_has_a_place_of_its_own(sizes: dict[str, int]) -> None:
    planned = plan_chunks(sizes)
    assert sorted(name for chunk in planned for name, _ in chunk.tensors) == sorted(sizes)
    for chunk in planned:
        ends = [start + sizes[name] for name, start in chunk.tensors]
        starts = [start for _, start in chunk.tensors]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
        assert all(start % 64 == 0 for start in starts)
        assert ends[-1] == chunk.size
        assert len(chunk.tensors) == 1 or sum(sizes[name] for name, _ in chunk.tensors) <= LIMIT


@given(tensors, st.randoms())
def test_the_order_in_which_tensors_come_does_not_matter(sizes: dict[str, int], random: object) -> None:
    shuffled = list(sizes.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_chunks(dict(shuffled)) == plan_chunks(sizes)


@given(tensors, names, st.integers(1, LIMIT * 2))
def test_a_tensor_more_disturbs_what_lies_around_it_only(sizes: dict[str, int], name: str, size: int) -> None:
    """At most a group's worth on each side, which may become one group, and the group that it falls into."""
    assume(name not in sizes)
    before, after = contents(sizes), contents({**sizes, name: size})
    disturbed = [each for _, group in before - after for each, _ in group]
    assert sum(sizes[each] for each in disturbed) <= 3 * LIMIT
    around = [each for each in sorted(sizes) if min(disturbed) <= each <= max(disturbed)] if disturbed else []
    assert sorted(disturbed) == around, "nothing in between stays"


@settings(deadline=None)  # five thousand names on a busy machine
@given(st.integers(1, 5000))
def test_there_are_never_too_many(count: int) -> None:
    planned = plan_chunks({f"layer.{number}": LIMIT for number in range(count)})
    assert len(planned) <= max(MOST_CHUNKS, 1)
