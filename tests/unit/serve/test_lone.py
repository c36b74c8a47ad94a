"""Who is alone, and which runs are over in a moment."""

from __future__ import annotations

import pytest

from builder.serve.models.lone import Asker, Brief

MS = 1_000_000


def test_alone_is_who_asks_while_nobody_else_did_for_a_while() -> None:
    asker, one, other = Asker(), object(), object()
    assert not asker.is_alone(one, 5_000 * MS)
    assert not asker.is_alone(one, 5_100 * MS)
    assert asker.is_alone(one, 5_300 * MS)
    assert not asker.is_alone(other, 5_301 * MS)
    assert not asker.is_alone(one, 5_302 * MS)
    assert not asker.is_alone(one, 5_400 * MS)
    assert asker.is_alone(one, 5_600 * MS)


@pytest.mark.parametrize(
    ("runs", "size"),
    [
        ([], -1),
        ([(10, 5 * MS)], 10),
        ([(10, 5 * MS), (20, 29 * MS), (7, 1 * MS)], 20),
        ([(10, 5 * MS), (20, 31 * MS)], 10),
        ([(20, 5 * MS), (20, 31 * MS)], 19),
        ([(20, 5 * MS), (10, 31 * MS)], 9),
        ([(20, 5 * MS), (20, 31 * MS), (20, 5 * MS)], 20),
        ([(20, 5 * MS), (20, 301 * MS), (20, 5 * MS)], -1),
        ([(10, 5 * MS), (20, 301 * MS), (20, 5 * MS)], 20),
    ],
    ids=["unknown", "short", "largest", "longer", "as large", "smaller", "once more", "surprise", "no surprise"],
)
def test_what_runs_have_shown(runs: list[tuple[int, int]], size: int) -> None:
    brief = Brief(is_steady=True)
    for elements, nanoseconds in runs:
        brief.ran(elements, nanoseconds)
    assert brief.size == size


def test_of_a_model_whose_inputs_do_not_tell_nothing_is_learned() -> None:
    brief = Brief(is_steady=False)
    brief.ran(10, MS)
    assert brief.size == -1
