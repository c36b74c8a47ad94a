"""A request that repeats another one's text is decoded as if it were the first of all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.serve.http.answers import Refusal
from builder.serve.protocol.codec import HEADER_LENGTH, Signature, decode
from builder.serve.protocol.tensors import Tensor
from tests.support.infer_bodies import JSON_VALUES

LIMIT = 10_000
NUMBERS = ("INT8", "INT64", "UINT64", "FP32", "FP64", "BOOL", "FP16")


def signature(datatype: str, *shape: int | str) -> Signature:
    tensor = Tensor(name="x", graph_name="graph/x", datatype=datatype, shape=shape)
    return Signature(inputs=(tensor,), outputs=(Tensor(name="y", graph_name="y", datatype="FP32", shape=("n",)),))


def outcome(model: Signature, headers: dict[str, str], body: bytes) -> object:
    try:
        request = decode(model, headers, body, LIMIT)
    except Refusal as refusal:
        return refusal.status, refusal.message
    arrays = [(name, array.dtype, array.shape, array.tobytes()) for name, array in request.feeds.items()]
    return arrays, request.form.wanted, request.id, request.size, request.timeout_us


ENTRY = {"name": "x", "datatype": "FP32", "shape": [2, 2]}
TEXTS = (
    json.dumps({"inputs": [ENTRY | {"data": "HOLE"}]}),
    json.dumps({"inputs": [{"data": "HOLE"} | ENTRY], "outputs": [{"name": "y"}], "parameters": {"timeout": 7}}),
    json.dumps({"inputs": [ENTRY | {"data": "HOLE"}], "id": "data"}),
    json.dumps({"inputs": [ENTRY | {"data": "HOLE", "parameters": {"data": [3]}}]}),
    json.dumps({"inputs": [ENTRY | {"parameters": {"data": "HOLE"}, "data": [1, 2, 3, 4]}]}),
    json.dumps({"inputs": [ENTRY | {"data": "HOLE"}, ENTRY | {"data": [1, 2, 3, 4]}]}),
    '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": "HOLE", "data": [1, 2, 3, 4]}]}',
    '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [["HOLE"]]}]}',
    '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "\\u0064ata": [true], "parameters": '
    '{"data": "HOLE"}}]}',
    '{"inputs": [{"name": "\\"data\\":[", "datatype": "FP32", "shape": [2, 2], "data": "HOLE"}]}',
)
LISTS = st.lists(st.integers(-3, 300) | st.floats(width=32) | st.integers() | st.booleans(), min_size=3, max_size=5)
FOUR = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(0, 9), min_size=4, max_size=4)
FILLERS = st.one_of(
    (LISTS | FOUR | JSON_VALUES).map(json.dumps),
    st.sampled_from(["[1,2,3,4", "1,2,3,4]", "[1,2,3,4],[1]", "[[1,2],[3,4]]", "[]", "[ 1 ,\n2,3, 4 ]", "[1,2,3,-]"]),
    st.sampled_from(
        ["[1,2,3,true]", "[1,2,3,null]", '[1,2,3,"]"]', "[1e999,2,3,4]", "[NaN,1,2,-Infinity]", "[01,2,3,4]"]
    ),
)


@given(st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.lists(FILLERS, min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_in_json(datatype: str, text: str, fillers: list[str]) -> None:
    text = text.replace("FP32", datatype)
    used = signature(datatype, "n", 2)
    for filler in ["[1, 2, 3, 4]", *fillers]:
        body = text.replace('"HOLE"', filler).encode()
        assert outcome(used, {}, body) == outcome(signature(datatype, "n", 2), {}, body)


@given(
    st.sampled_from([*NUMBERS, "BF16", "BYTES"]),
    st.lists(st.tuples(st.binary(min_size=0, max_size=40), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([{}, {"id": "7"}, {"parameters": {"timeout": 9, "binary_data_output": True}}]),
)
@settings(max_examples=300, deadline=None)
def test_in_binary(datatype: str, contents: list[tuple[bytes, bool]], rest: dict[str, Any]) -> None:
    used = signature(datatype, "n", 2)
    for content, honest in [(b"\1\0" * 8, True), *contents]:
        size = len(content) if honest else 16
        entry = {"name": "x", "datatype": datatype, "shape": [2, 2], "parameters": {"binary_data_size": size}}
        text = json.dumps({"inputs": [entry], **rest}).encode()
        headers = {HEADER_LENGTH: str(len(text))}
        assert outcome(used, headers, text + content) == outcome(signature(datatype, "n", 2), headers, text + content)


def test_what_is_repeated_is_read_from_the_new_request() -> None:
    model = signature("FP32", "n", 2)
    for first in range(5):
        values = [first, 2.5, 3, 4]
        body = json.dumps({"inputs": [ENTRY | {"data": values}]}).encode()
        request = decode(model, {}, body, LIMIT)
        assert request.feeds["graph/x"].tolist() == [values[:2], values[2:]]
    known = model.repeats.blank(body)
    assert known is not None and known[3] is not None


@pytest.mark.parametrize("count", [0, 4000])
def test_what_is_kept_is_bounded(count: int) -> None:
    model = signature("FP32", "n", 2)
    for rows in range(200):
        data = np.zeros((rows, 2), np.float32)
        entry = {"name": "x", "datatype": "FP32", "shape": [rows, 2], "note": "n" * count}
        decode(model, {}, json.dumps({"inputs": [entry | {"data": data.ravel().tolist()}]}).encode(), 100_000)
        text = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": data.nbytes}}]}).encode()
        decode(model, {HEADER_LENGTH: str(len(text))}, text + data.tobytes(), 100_000)
    kept = [*model.repeats._blanks, *model.repeats._framings]
    assert len(kept) <= (0 if count else 128)
