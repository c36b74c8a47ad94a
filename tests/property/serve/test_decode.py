"""Whatever a client sends is decoded or refused with 400, 413 or 415: never a mistake of the server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.serve.http.answers import Refusal, as_json
from builder.serve.protocol.codec import HEADER_LENGTH, InferRequest, Signature, decode, encode
from builder.serve.protocol.tensors import DTYPES, Tensor, from_binary, from_json, to_binary, to_json
from tests.support.infer_bodies import bodies

LIMIT = 10_000


def tensor(datatype: str, *shape: int | str, name: str = "x") -> Tensor:
    return Tensor(name=name, graph_name=name, datatype=datatype, shape=shape)


def refused_or(signature: Signature, headers: dict[str, str], body: bytes) -> InferRequest | None:
    try:
        return decode(signature, headers, body, LIMIT)
    except Refusal as refusal:
        assert refusal.status in (400, 413, 415) and refusal.message
        as_json({"error": refusal.message})
        return None


@given(
    st.sampled_from(sorted(DTYPES)),
    bodies(),
    st.binary(max_size=80),
    st.none() | st.integers(-2, 400) | st.text(max_size=4) | st.just("honest"),
)
@settings(max_examples=600, deadline=None)
def test_any_structure(datatype: str, body: dict[str, Any], binary: bytes, length: Any) -> None:
    signature = Signature(inputs=(tensor(datatype, "n", 2),), outputs=(tensor(datatype, "n", 2, name="y"),))
    text = json.dumps(body).encode()
    headers = {} if length is None else {HEADER_LENGTH: str(len(text) if length == "honest" else length)}
    request = refused_or(signature, headers, text + (binary if headers else b""))
    if request is not None:
        array = request.feeds["x"]
        assert array.ndim == 2 and array.shape[1] == 2 and array.dtype == DTYPES[datatype]


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "identity", "br", ""]))
def test_any_bytes(body: bytes, coding: str) -> None:
    signature = Signature(inputs=(tensor("BYTES", "n"),), outputs=(tensor("BYTES", "n", name="y"),))
    refused_or(signature, {"content-encoding": coding}, body)
    refused_or(signature, {HEADER_LENGTH: "0"}, body)


@given(st.sampled_from(sorted(DTYPES)), st.binary(max_size=60), st.lists(st.integers(0, 5), max_size=3))
def test_any_binary_tensor(datatype: str, content: bytes, shape: list[int]) -> None:
    given_tensor = tensor(datatype, *["d"] * len(shape))
    try:
        array = from_binary(given_tensor, tuple(shape), memoryview(content))
    except Refusal as refusal:
        assert refusal.status == 400 and "'x'" in refusal.message
    else:
        assert bytes(to_binary(datatype, array)) == content


@given(
    st.sampled_from(["INT8", "UINT64", "INT64", "FP64", "FP32", "BOOL", "BYTES"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_json_round_trip_flat_and_nested(datatype: str, shape: list[int], random: Any) -> None:
    count = int(np.prod(shape))
    if datatype == "BYTES":
        values: list[Any] = [chr(random.randrange(1, 0xD000)) * random.randrange(3) for _ in range(count)]
    elif datatype == "BOOL":
        values = [random.random() < 0.5 for _ in range(count)]
    elif datatype.startswith("FP"):
        values = [float(np.float32(random.uniform(-1e30, 1e30))) for _ in range(count)]
    else:
        limits = np.iinfo(DTYPES[datatype])
        values = [
            random.choice([limits.min, limits.max, random.randrange(limits.min, limits.max)]) for _ in range(count)
        ]
    given_tensor = tensor(datatype, *["d"] * len(shape))
    flat = from_json(given_tensor, tuple(shape), values)
    assert flat.shape == tuple(shape) and to_json(flat) == values
    nested = np.array(values, object).reshape(shape).tolist()
    if count:
        assert to_json(from_json(given_tensor, tuple(shape), nested)) == values


@given(st.sampled_from(["gzip", "deflate", "", "*", "gzip;q=0, deflate", ";;;,q"]), st.integers(0, 3000))
def test_responses_are_whole_whatever_is_accepted(accepted: str, size: int) -> None:
    signature = Signature(inputs=(tensor("UINT8", "n"),), outputs=(tensor("UINT8", "n", name="y"),))
    array = np.arange(size).astype("u1")
    text = as_json({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [size], "data": array.tolist()}]})
    request = decode(signature, {}, text, 100_000)
    response = encode(("m", "1"), request, [array], accepted)
    assert response.status == 200 and sum(map(len, response.body)) > 0
