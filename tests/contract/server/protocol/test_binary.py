"""Triton's binary tensor data extension: tensors as bytes, in and out, mixed with JSON, and whole raw requests."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from tests.contract.server.protocol.endpoint import HEADER_LENGTH, Endpoint, outputs, tensor

NUMBERS = np.array([1.5, -2, 3], np.float32)
DATA = NUMBERS.tobytes()
BINARY = {"binary_data_size": len(DATA)}
RAW = {HEADER_LENGTH: "0", "Content-Type": "application/octet-stream"}
STRINGS = struct.pack("<I", 3) + b"abc" + struct.pack("<I", 0)


def line(**more: Any) -> dict[str, Any]:
    return {"inputs": [tensor("x", "FP32", [3], parameters=BINARY)], **more}


def test_binary_in_json_out(server: Endpoint) -> None:
    answer = server.infer_binary("line", line(), DATA)
    assert answer.headers["content-type"] == "application/json"
    assert outputs(answer)["y"]["data"] == NUMBERS.tolist()


@pytest.mark.parametrize(
    ("body", "binary"),
    [
        ({"parameters": {"binary_data_output": True}}, True),
        ({"parameters": {"binary_data_output": False}}, False),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, True),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": False}}]}, False),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
            },
            False,
        ),
        (
            {
                "parameters": {"binary_data_output": False},
                "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
            },
            True,
        ),
    ],
    ids=str,
)
def test_how_an_output_travels(server: Endpoint, body: dict[str, Any], binary: bool) -> None:
    """An output's own word counts before the request's."""
    answer = server.infer_binary("line", line(**body), DATA)
    found = outputs(answer)["y"]
    if binary:
        assert answer.headers["content-type"] == "application/octet-stream"
        assert (found["content"], found["parameters"]) == (DATA, BINARY)
        assert "data" not in found
    else:
        assert HEADER_LENGTH.lower() not in answer.headers
        assert found["data"] == NUMBERS.tolist()


def test_a_wish_for_all_outputs_where_some_are_named(server: Endpoint) -> None:
    body = {"parameters": {"binary_data_output": True}, "outputs": [{"name": "y"}]}
    found = outputs(server.infer_binary("line", line(**body), DATA))["y"]
    assert ("content" in found) == server.differs("binary-wish", triton=False, here=True)


def test_inputs_and_outputs_in_both_forms(server: Endpoint) -> None:
    """Binary tensors lie one after the other in the order of the JSON, those with data in it have no part there."""
    a = np.array([[1, 2], [3, 4]], np.float32)
    index = np.array([1, 0, 1], np.int64)
    inputs = [
        tensor("index", "INT64", [3], parameters={"binary_data_size": index.nbytes}),
        tensor("b", "FP32", [2, 2], data=[[10, 20], [30, 40]]),
        tensor("a", "FP32", [2, 2], parameters={"binary_data_size": a.nbytes}),
    ]
    asked = [{"name": "total", "parameters": {"binary_data": True}}, {"name": "picked"}]
    answer = server.infer_binary("two", {"inputs": inputs, "outputs": asked}, index.tobytes() + a.tobytes())
    found = outputs(answer)
    assert found["picked"]["data"] == [3, 4, 1, 2, 3, 4]
    assert np.frombuffer(found["total"]["content"], np.float32).tolist() == [11, 22, 33, 44]


def test_large_tensors_in_binary(server: Endpoint) -> None:
    data = np.arange(1_000_000, dtype=np.float32).tobytes()
    given = tensor("x", "FP32", [1_000_000], parameters={"binary_data_size": len(data)})
    asked = {"binary_data_output": True}
    assert outputs(server.infer_binary("line", {"inputs": [given], "parameters": asked}, data))["y"]["content"] == data


def test_large_tensors_in_json(server: Endpoint) -> None:
    values = [number / 8 for number in range(50_000)]
    answer = server.infer("line", {"inputs": [tensor("x", "FP32", [len(values)], data=values)]})
    assert outputs(answer)["y"]["data"] == values


def test_empty_tensors_in_binary(server: Endpoint) -> None:
    given = tensor("x", "FP32", [0], parameters={"binary_data_size": 0})
    answer = server.infer_binary("line", {"inputs": [given], "parameters": {"binary_data_output": True}}, b"")
    found = outputs(answer)["y"]
    assert (found["shape"], found["content"]) == ([0], b"")
    assert (HEADER_LENGTH.lower() in answer.headers) == server.differs("empty-binary", triton=False, here=True)


def test_a_header_length_that_is_the_whole_body(server: Endpoint) -> None:
    body = {"inputs": [tensor("x", "FP32", [2], data=[1.5, -2])]}
    assert outputs(server.infer_binary("line", body, b""))["y"]["data"] == [1.5, -2.0]


REFUSED: dict[str, tuple[dict[str, Any], bytes]] = {
    "size less": (line(inputs=[tensor("x", "FP32", [3], parameters={"binary_data_size": 8})]), DATA),
    "size more": (line(inputs=[tensor("x", "FP32", [3], parameters={"binary_data_size": 16})]), DATA),
    "bytes more": (line(), DATA + b"1234"),
    "bytes less": (line(), DATA[:8]),
    "no bytes": (line(), b""),
    "another shape": (line(inputs=[tensor("x", "FP32", [4], parameters=BINARY)]), DATA),
    "both forms": (line(inputs=[tensor("x", "FP32", [3], parameters=BINARY, data=[1, 2, 3])]), DATA),
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
def test_sizes_that_do_not_fit_are_refused(server: Endpoint, request_: tuple[dict[str, Any], bytes]) -> None:
    answer = server.infer_binary("line", *request_)
    assert answer.status == 400 and answer.error


@pytest.mark.parametrize("size", [-1, "12", 12.0, True, None], ids=str)
def test_sizes_that_are_no_numbers_are_refused(server: Endpoint, size: Any) -> None:
    given = tensor("x", "FP32", [3], parameters={"binary_data_size": size})
    answer = server.infer_binary("line", {"inputs": [given]}, DATA)
    assert answer.status == server.differs("wrong-request", triton=500, here=400)


@pytest.mark.parametrize("length", ["-1", "x", "", "99999", "9" * 30])
def test_header_lengths_that_lie(server: Endpoint, length: str) -> None:
    answer = server.infer("line", {"inputs": [tensor("x", "FP32", [1], data=[1])]}, {HEADER_LENGTH: length})
    assert answer.status == 400 and answer.error


@pytest.mark.parametrize(
    ("content", "shape"), [(STRINGS[:-2], [1, 2]), (STRINGS, [1, 3]), (STRINGS, [1, 1])], ids=["cut", "few", "many"]
)
def test_strings_that_do_not_add_up(server: Endpoint, content: bytes, shape: list[int]) -> None:
    given = tensor("x", "BYTES", shape, parameters={"binary_data_size": len(content)})
    answer = server.infer_binary("identity_BYTES", {"inputs": [given]}, content)
    assert answer.status == 400 and answer.error


def test_strings_that_are_not_text(server: Endpoint) -> None:
    content = struct.pack("<I", 2) + b"\xff\xfe"
    given = tensor("x", "BYTES", [1, 1], parameters={"binary_data_size": len(content)})
    answer = server.infer_binary("identity_BYTES", {"inputs": [given]}, content)
    assert answer.status == 400 and "UTF-8" in answer.error


def test_bools_that_are_neither(server: Endpoint) -> None:
    given = tensor("x", "BOOL", [1, 2], parameters={"binary_data_size": 2})
    answer = server.infer_binary("identity_BOOL", {"inputs": [given]}, b"\x01\x02")
    assert answer.status == server.differs("bool-bytes", triton=200, here=400)


def test_a_raw_request(server: Endpoint) -> None:
    """All of the body is the one input, all outputs come in binary."""
    answer = server.infer("line", DATA, RAW)
    assert answer.headers["content-type"] == "application/octet-stream"
    found = outputs(answer)["y"]
    assert (found["shape"], found["content"]) == ([3], DATA)


def test_a_raw_request_is_a_batch_of_one(server: Endpoint) -> None:
    found = outputs(server.infer("identity_FP32", DATA, RAW))["y"]
    assert (found["shape"], found["content"]) == ([1, 3], DATA)
    assert outputs(server.infer("mlp", bytes(16), RAW))["probabilities"]["shape"] == [1, 3]


def test_a_raw_text_has_no_length_in_front(server: Endpoint) -> None:
    found = outputs(server.infer("one_string", b"any text", RAW))["y"]
    assert (found["shape"], found["content"]) == ([1], struct.pack("<I", 8) + b"any text")


def test_an_empty_raw_request(server: Endpoint) -> None:
    assert outputs(server.infer("line", b"", RAW))["y"]["shape"] == [0]


@pytest.mark.parametrize(("model", "content"), [("line", b"12345"), ("two", DATA), ("mlp", DATA)])
def test_raw_requests_that_do_not_fit(server: Endpoint, model: str, content: bytes) -> None:
    answer = server.infer(model, content, RAW)
    assert answer.status == 400 and answer.error


@pytest.mark.parametrize(("model", "content"), [("mlp", bytes(32)), ("identity_BYTES", b"any text")])
def test_raw_requests_whose_shape_has_to_be_guessed(server: Endpoint, model: str, content: bytes) -> None:
    answer = server.infer(model, content, RAW)
    assert answer.status == server.differs("raw-shape", triton=400, here=200)
