"""What travels, byte by byte."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from builder.serve.http.answers import Refusal, as_json
from builder.serve.protocol.codec import InferRequest, Signature, decode, encode
from builder.serve.protocol.compression import compressed
from builder.serve.protocol.forms import Form, Wanted
from builder.serve.protocol.tensors import Tensor, raw_input, to_binary


def tensor(name: str, datatype: str, *shape: int | str) -> Tensor:
    return Tensor(name=name, graph_name=f"graph/{name}", datatype=datatype, shape=shape)


SIGNATURE = Signature(
    inputs=(tensor("a", "FP32", "n", 2), tensor("t", "BYTES", "k")),
    outputs=(tensor("y", "FP32", "n"), tensor("z", "BYTES", "k")),
)


def test_binary_and_json_inputs_in_one_request() -> None:
    data = np.array([[1, 2]], "<f4").tobytes()
    head = as_json(
        {
            "inputs": [
                {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["é"]},
                {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
            ],
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": "z"}, {"name": "y", "parameters": {"binary_data": False}}],
        }
    )
    request = decode(SIGNATURE, {"inference-header-content-length": str(len(head))}, head + data, 1000)
    assert request.feeds["graph/a"].tolist() == [[1, 2]] and request.feeds["graph/t"].tolist() == ["é"]
    assert [(each.tensor.name, each.binary) for each in request.form.wanted] == [("z", True), ("y", False)]


def test_aligned_binary_inputs_are_views_on_the_body() -> None:
    data = np.arange(2, dtype="<f4").tobytes()
    text = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}
    head = as_json(text)
    head += b" " * (-len(head) % 16)
    body = bytearray(head + data)
    one = Signature(inputs=(tensor("x", "FP32", "n"),), outputs=(tensor("y", "FP32", "n"),))
    request = decode(one, {"inference-header-content-length": str(len(head))}, body, 1000)
    array = request.feeds["graph/x"]
    assert not array.flags.owndata and array.flags.aligned
    assert array.__array_interface__["data"][0] == np.frombuffer(body, np.uint8).ctypes.data + len(head)


def test_a_response_in_both_forms() -> None:
    wanted = (Wanted(SIGNATURE.outputs[0], True), Wanted(SIGNATURE.outputs[1], False))
    results = [np.array([1.5], np.float32), np.array(["é"], object)]
    response = encode(("m", "1"), InferRequest({}, Form(wanted), "7", 0), results, "")
    length = int(dict(response.headers)["Inference-Header-Content-Length"])
    body = b"".join(response.body)
    answer = json.loads(body[:length])
    assert answer["id"] == "7" and (answer["model_name"], answer["model_version"]) == ("m", "1")
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 4} and answer["outputs"][1]["data"] == ["é"]
    assert body[length:] == struct.pack("<f", 1.5)


def test_strings_in_binary() -> None:
    assert to_binary("BYTES", np.array(["ab", ""], object)) == b"\x02\0\0\0ab\0\0\0\0"


def test_outputs_are_made_row_major_and_little_endian() -> None:
    transposed = np.arange(6, dtype=">i4").reshape(2, 3).T
    assert bytes(to_binary("INT32", transposed)) == np.array([0, 3, 1, 4, 2, 5], "<i4").tobytes()


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [((2, 3), 24, (2, 3)), (("n", 3), 24, (2, 3)), (("n", "m"), 24, (1, 6)), (("b", "n", 2), 24, (1, 3, 2))],
)
def test_the_shape_of_a_raw_request(shape: tuple[int | str, ...], size: int, expected: tuple[int, ...]) -> None:
    assert raw_input(tensor("x", "FP32", *shape), memoryview(bytes(size))).shape == expected


def test_a_raw_request_that_does_not_divide() -> None:
    with pytest.raises(Refusal):
        raw_input(tensor("x", "FP32", "n", 3), memoryview(bytes(20)))
    with pytest.raises(Refusal):
        raw_input(tensor("x", "FP32", "a", "b", "c"), memoryview(bytes(24)))


def test_small_responses_are_not_compressed() -> None:
    request = InferRequest({}, Form([Wanted(SIGNATURE.outputs[0], False)]), None, 0)
    small = encode(("m", "1"), request, [np.zeros(1, np.float32)], "gzip")
    assert "Content-Encoding" not in dict(small.headers)
    large = encode(("m", "1"), request, [np.zeros(1000, np.float32)], "deflate, gzip;q=0.0")
    assert dict(large.headers)["Content-Encoding"] == "deflate"
    assert compressed(large, "") is large
