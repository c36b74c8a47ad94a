"""A model runs on the event loop only while it is quick."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder.serve.models.inference import Served
from builder.serve.protocol.codec import Signature

MS = 1_000_000


def served(seconds: float) -> Served:
    model: Any = SimpleNamespace(name="m", version="1", is_graph=True, signature=Signature((), ()))
    warm: Any = SimpleNamespace(case="c", seconds=seconds, size=4)
    return Served(model, warm, None)


def test_only_what_was_quick_in_its_warm_up_starts_on_the_loop() -> None:
    assert served(0.00001).inline_size == 4
    assert served(0.001).inline_size == -1


@pytest.mark.parametrize(
    ("runs", "stays"),
    [
        ([MS // 100] * 1000, True),
        (([5 * MS] + [MS // 100] * 50) * 20, True),
        ([60 * MS], False),
        ([MS] * 100, False),
    ],
    ids=["quick", "interrupted now and then", "one very long", "all longer"],
)
def test_long_runs_cost_a_model_the_loop(runs: list[int], stays: bool) -> None:
    model = served(0.00001)
    for nanoseconds in runs:
        model.ran_inline(nanoseconds)
    assert (model.inline_size == 4) is stays
