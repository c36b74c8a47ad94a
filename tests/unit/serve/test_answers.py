"""JSON out and in: whatever orjson does otherwise than Python and Triton is not seen by a client."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from builder.serve.http.answers import Refusal, Response, as_json, head
from builder.serve.protocol.codec import InferRequest, Signature, decode, encode, from_text
from builder.serve.protocol.forms import Form, Wanted
from builder.serve.protocol.tensors import Tensor, from_json, to_json


@pytest.mark.parametrize(
    "value",
    [
        {"data": [math.nan, math.inf, -math.inf]},
        {"large": 2**64, "small": -(2**70)},
        {"half a pair": "\ud800"},
        {"nothing": None, "word": "null"},
        {"text": "é \U0001f600 \x00 \x7f", "numbers": [1e-7, 1e300, -0.0, 5e-324, 0.1]},
    ],
    ids=["not finite", "above 64 bits", "surrogate", "null", "usual"],
)
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    assert repr(json.loads(as_json(value))) == repr(value)


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity, Infinity]", str(10**400), '"\\ud800"', " {} ", "[1, 2.5, -0.0, 18446744073709551615]"]
)
def test_what_python_reads_is_read(text: str) -> None:
    assert repr(from_text(text.encode())) == repr(json.loads(text))


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert from_text(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("text", [b"", b"[1,]", b"\xff", b'"\xed\xa0\x80"', b"[" * 100_000, b"1 1"])
def test_what_python_refuses_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        from_text(text)


@pytest.mark.parametrize("values", [[2**64], [1, -(2**63) - 1], [10**30]])
def test_whole_numbers_above_64_bits_are_out_of_range(values: list[int]) -> None:
    tensor = Tensor(name="x", graph_name="x", datatype="INT64", shape=("n",))
    read = from_text(json.dumps(values).encode())
    with pytest.raises(Refusal, match="outside the range of INT64"):
        from_json(tensor, (len(values),), read)


def test_floats_keep_the_value_that_they_have_as_doubles() -> None:
    y = Tensor(name="y", graph_name="y", datatype="FP32", shape=("n",))
    array = np.array([0.1, 1 / 3, np.nan, np.float32(3.4e38)], np.float32)
    response = encode(("m", "1"), InferRequest({}, Form([Wanted(y, False)]), None, 0), [array], "")
    written = json.loads(b"".join(response.body))["outputs"][0]["data"]
    assert repr(written) == repr([float(value) for value in array])


MANY = np.random.default_rng(3).normal(size=(20, 50)) * 100


@pytest.mark.parametrize(
    "array",
    [
        MANY.astype("f4"),
        MANY,
        np.where(MANY > 100, np.nan, MANY).astype("f4"),
        MANY.astype("f4").T,
        MANY[::2, ::3].astype(">f4"),
        MANY.astype("i8") * 10**15,
        MANY.astype("u1"),
        MANY > 0,
    ],
    ids=["f4", "f8", "nan", "columns", "other order", "i8", "u1", "bool"],
)
def test_many_numbers_are_written_as_few_are(array: np.ndarray[Any, Any]) -> None:
    assert repr(json.loads(as_json(to_json(array)))) == repr(array.ravel().tolist())


def test_not_finite_numbers_come_in() -> None:
    x = Tensor(name="x", graph_name="x", datatype="FP32", shape=(3,))
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[NaN,-Infinity,1]}]}'
    request = decode(Signature(inputs=(x,), outputs=(x,)), {}, body, 1000)
    assert repr(request.feeds["x"].tolist()) == "[nan, -inf, 1.0]"


def test_a_head_says_how_long_the_body_is() -> None:
    response = Response(503, body=(b"ab", b"c"), headers=(("Retry-After", "1"),))
    assert head(response, 3, "NOW", "close") == (
        b"HTTP/1.1 503 Service Unavailable\r\nDate: NOW\r\nContent-Length: 3\r\nContent-Type: application/json\r\n"
        b"Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
