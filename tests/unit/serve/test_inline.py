"""A model runs on the event loop only while it is quick."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder.serve.models.call import decodes_slowly
from builder.serve.models.inference import Served
from builder.serve.protocol.codec import HEADER_LENGTH, Signature
from builder.serve.protocol.tensors import Tensor

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


@pytest.mark.parametrize(
    ("headers", "size", "datatype", "slow"),
    [
        ({}, 1000, "FP32", False),
        ({}, 100_000, "FP32", True),
        ({"content-encoding": "gzip"}, 10, "FP32", True),
        ({HEADER_LENGTH: "120"}, 600_000, "FP32", False),
        ({HEADER_LENGTH: "120"}, 600_000, "BYTES", True),
        ({HEADER_LENGTH: "120"}, 6_000_000, "FP32", True),
        ({HEADER_LENGTH: "90000"}, 100_000, "FP32", True),
        ({HEADER_LENGTH: "-1"}, 100_000, "FP32", True),
        ({HEADER_LENGTH: "²"}, 100_000, "FP32", True),
        ({HEADER_LENGTH: "1" * 5000}, 100_000, "FP32", True),
    ],
)
def test_only_what_takes_long_is_decoded_elsewhere(
    headers: dict[str, str], size: int, datatype: str, slow: bool
) -> None:
    tensor = Tensor(name="x", graph_name="x", datatype=datatype, shape=("n",))
    assert decodes_slowly(Signature((tensor,), ()), headers, size) is slow
