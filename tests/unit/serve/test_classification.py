"""The highest values of an output, as Triton writes them."""

from __future__ import annotations

import numpy as np
import pytest

from builder.serve.http.answers import Refusal
from builder.serve.protocol.classification import highest
from builder.serve.protocol.codec import Signature, decode
from builder.serve.protocol.tensors import Tensor


def test_of_equal_values_the_first_comes_first() -> None:
    assert highest(np.array([2, 200, 2, 0], np.uint8), count=4, batched=False).tolist() == [
        "200:1",
        "2:0",
        "2:2",
        "0:3",
    ]


def test_each_row_has_its_own() -> None:
    rows = np.array([[[1.5, -2.0], [0.25, 1e9]], [[0, 0], [0, 7]]], np.float32)
    assert highest(rows, count=2, batched=True).tolist() == [
        ["1000000000.000000:3", "1.500000:0"],
        ["7.000000:3", "0.000000:0"],
    ]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)], ids=str)
def test_of_nothing_there_is_nothing(shape: tuple[int, int]) -> None:
    found = highest(np.zeros(shape, np.float32), count=2, batched=True)
    assert found.shape == (shape[0], 0)


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "BF16"])
def test_what_has_no_order_is_refused(datatype: str) -> None:
    given = Tensor(name="x", graph_name="x", datatype="FP32", shape=("n",))
    found = Tensor(name="y", graph_name="y", datatype=datatype, shape=("n",))
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[0],"data":[]}],'
    body += b'"outputs":[{"name":"y","parameters":{"classification":1}}]}'
    with pytest.raises(Refusal, match=f"output 'y': classification is not for {datatype}"):
        decode(Signature((given,), (found,)), {}, body, 1000)
