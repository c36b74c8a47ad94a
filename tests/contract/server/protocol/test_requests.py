"""Inference in JSON: inputs, ids, parameters, requested outputs, and how wrong requests are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.server.protocol.endpoint import Endpoint, outputs, tensor

FEATURES = tensor("features", "FP32", [1, 4], data=[1, 2, 3, 4])
NUMBERS = tensor("x", "FP32", [2], data=[1.5, -2])
PAIR = {"datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
TWO = [{"name": "a", **PAIR}, {"name": "b", **PAIR}, tensor("index", "INT64", [1], data=[1])]


def test_the_whole_response(server: Endpoint) -> None:
    answer = server.infer("line", {"inputs": [NUMBERS]})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "model_name": "line",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1.5, -2.0]}],
    }


def test_a_version_in_the_path(server: Endpoint) -> None:
    assert outputs(server.infer("line/versions/1", {"inputs": [NUMBERS]}))["y"]["data"] == [1.5, -2.0]


@pytest.mark.parametrize("batch", [1, 3])
def test_batches(server: Endpoint, batch: int) -> None:
    features = tensor("features", "FP32", [batch, 4], data=[1, 2, 3, 4] * batch)
    found = outputs(server.infer("mlp", {"inputs": [features]}))["probabilities"]
    assert found["shape"] == [batch, 3]
    assert sum(found["data"]) == pytest.approx(batch, abs=1e-5)
    assert found["data"][:3] * batch == pytest.approx(found["data"], abs=1e-6)


def test_a_batch_above_what_is_put_together(server: Endpoint) -> None:
    features = tensor("features", "FP32", [1025, 4], data=[1, 2, 3, 4] * 1025)
    answer = server.infer("mlp", {"inputs": [features]})
    assert answer.status == server.differs("batch-limit", triton=400, here=200)


def test_an_empty_batch(server: Endpoint) -> None:
    answer = server.infer("mlp", {"inputs": [tensor("features", "FP32", [0, 4], data=[])]})
    assert answer.status == server.differs("empty-batch", triton=400, here=200)


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2, 3, 4]]], ids=["flat", "nested"])
def test_data_flat_and_nested(server: Endpoint, data: list[Any]) -> None:
    assert server.infer("mlp", {"inputs": [FEATURES | {"data": data}]}).status == 200


@pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [[1], [2, 3, 4]], [[[1, 2, 3, 4]]]], ids=str)
def test_data_nested_otherwise_than_shape(server: Endpoint, data: list[Any]) -> None:
    answer = server.infer("mlp", {"inputs": [FEATURES | {"data": data}]})
    assert answer.status == server.differs("nesting", triton=200, here=400)


@pytest.mark.parametrize("identifier", ["tomorrow-7", "é 模型 🙂", 'quote " and \\'])
def test_an_id_comes_back(server: Endpoint, identifier: str) -> None:
    answer = server.infer("line", {"id": identifier, "inputs": [NUMBERS]})
    assert answer.json()["id"] == identifier


def test_an_empty_id_is_none(server: Endpoint) -> None:
    assert "id" not in server.infer("line", {"id": "", "inputs": [NUMBERS]}).json()


@pytest.mark.parametrize("field", ["id", "outputs"])
def test_null_for_what_may_be_left_out(server: Endpoint, field: str) -> None:
    answer = server.infer("line", {field: None, "inputs": [NUMBERS]})
    assert answer.status == server.differs("null", triton=500, here=200)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"unknown": 1, "other": "text", "third": True},
        {"priority": 1, "timeout": 10_000_000},
        {"sequence_id": 5, "sequence_start": True, "sequence_end": False},
        {"sequence_id": "a-7"},
    ],
    ids=str,
)
def test_parameters_that_change_nothing(server: Endpoint, parameters: dict[str, Any]) -> None:
    """Sequences mean nothing to a model without state, to Triton either."""
    body = {
        "parameters": parameters,
        "inputs": [NUMBERS | {"parameters": {"unknown": 1}}],
        "outputs": [{"name": "y", "parameters": {"unknown": 1}}],
    }
    assert outputs(server.infer("line", body))["y"]["data"] == [1.5, -2.0]


@pytest.mark.parametrize("value", [{"a": 1}, [1], None], ids=str)
def test_parameters_of_no_known_type(server: Endpoint, value: Any) -> None:
    answer = server.infer("line", {"parameters": {"unknown": value}, "inputs": [NUMBERS]})
    assert answer.status == server.differs("parameter-values", triton=400, here=200)
    answer = server.infer("line", {"parameters": {"triton_unknown": 1}, "inputs": [NUMBERS]})
    assert answer.status == server.differs("parameter-values", triton=400, here=200)


def test_a_time_that_has_passed_before_the_run(server: Endpoint) -> None:
    body = {"parameters": {"timeout": 1}, "inputs": [tensor("x", "FP32", [1], data=[1])]}
    answer = server.infer("slow", body)
    assert answer.status == server.differs("timeout", triton=200, here=503)


def test_fields_that_nobody_knows_are_ignored(server: Endpoint) -> None:
    assert server.infer("line", {"hello": 2, "inputs": [NUMBERS | {"what": 1}]}).status == 200


@pytest.mark.parametrize(
    "around", [(b" \n", b"\r\n\t "), (b"\xef\xbb\xbf", b"")], ids=["white space", "byte order mark"]
)
def test_what_may_stand_around_json(server: Endpoint, around: tuple[bytes, bytes]) -> None:
    text = json.dumps({"inputs": [NUMBERS]}).encode()
    assert server.infer("line", around[0] + text + around[1]).status == 200


def test_the_content_type_does_not_matter(server: Endpoint) -> None:
    answer = server.infer("line", {"inputs": [NUMBERS]}, {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 200


@pytest.mark.parametrize("asked", [None, [], [{"name": "picked"}, {"name": "total"}]], ids=["none", "empty", "all"])
def test_all_outputs(server: Endpoint, asked: Any) -> None:
    found = outputs(server.infer("two", {"inputs": TWO} | ({} if asked is None else {"outputs": asked})))
    assert found["total"]["data"] == [2, 4, 6, 8]
    assert found["picked"]["data"] == [3, 4]


@pytest.mark.parametrize("name", ["picked", "total"])
def test_one_output(server: Endpoint, name: str) -> None:
    assert set(outputs(server.infer("two", {"inputs": TWO, "outputs": [{"name": name}]}))) == {name}


def test_inputs_in_another_order(server: Endpoint) -> None:
    assert outputs(server.infer("two", {"inputs": TWO[::-1]}))["picked"]["data"] == [3, 4]


def test_an_output_asked_for_twice_is_given_once(server: Endpoint) -> None:
    answer = server.infer("two", {"inputs": TWO, "outputs": [{"name": "picked"}, {"name": "picked"}]})
    assert [each["name"] for each in answer.json()["outputs"]] == ["picked"]


def classes(count: Any) -> dict[str, Any]:
    return {"name": "probabilities", "parameters": {"classification": count}}


@pytest.mark.parametrize(("count", "given"), [(1, 1), (2, 2), (7, 3)])
def test_the_highest_of_each_row_as_text(server: Endpoint, count: int, given: int) -> None:
    features = tensor("features", "FP32", [2, 4], data=[1, 2, 3, 4, -1, 2, 0, 4])
    found = outputs(server.infer("mlp", {"inputs": [features], "outputs": [classes(count)]}))["probabilities"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [2, given])
    both = [["0.875522:0", "0.110526:1", "0.013953:2"], ["0.925246:0", "0.069529:1", "0.005225:2"]]
    assert found["data"] == [text for row in both for text in row[:given]]


def test_the_highest_of_whole_numbers_and_of_what_is_no_batch(server: Endpoint) -> None:
    asked = [{"name": "y", "parameters": {"classification": 2}}]
    whole = {"inputs": [tensor("x", "INT64", [1, 3], data=[1, 3, -2])], "outputs": asked}
    assert outputs(server.infer("identity_INT64", whole))["y"]["data"] == ["3:1", "1:0"]
    single = {"inputs": [tensor("x", "FP32", [3], data=[1, 30000, -2.5])], "outputs": asked}
    found = outputs(server.infer("line", single))["y"]
    assert (found["shape"], found["data"]) == ([2], ["30000.000000:1", "1.000000:0"])


def test_no_classes_are_the_tensor_itself(server: Endpoint) -> None:
    found = outputs(server.infer("mlp", {"inputs": [FEATURES], "outputs": [classes(0)]}))["probabilities"]
    assert (found["datatype"], found["shape"]) == ("FP32", [1, 3])


@pytest.mark.parametrize("count", [-1, "2", 1.5, True], ids=str)
def test_a_number_of_classes_that_is_none(server: Endpoint, count: Any) -> None:
    answer = server.infer("mlp", {"inputs": [FEATURES], "outputs": [classes(count)]})
    assert answer.status == server.differs("wrong-request", triton=500, here=400)


REGION = {"shared_memory_region": "nowhere", "shared_memory_byte_size": 16}


def test_shared_memory(server: Endpoint) -> None:
    given = {"inputs": [tensor("features", "FP32", [1, 4], parameters=REGION)]}
    asked = {"inputs": [FEATURES], "outputs": [{"name": "probabilities", "parameters": REGION}]}
    for body in (given, asked):
        assert server.infer("mlp", body).status == server.differs("shared-memory", triton=404, here=400)


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in FEATURES.items() if name != field}


REFUSED: dict[str, Any] = {
    "no body": b"",
    "inputs empty": {"inputs": []},
    "input missing": {"inputs": TWO[:2]},
    "input unknown": {"inputs": [FEATURES | {"name": "nope"}]},
    "input too many": {"inputs": [FEATURES, NUMBERS]},
    "input twice": {"inputs": [FEATURES, FEATURES]},
    "input without data": {"inputs": [without("data")]},
    "another datatype": {"inputs": [FEATURES | {"datatype": "FP64"}]},
    "unknown datatype": {"inputs": [FEATURES | {"datatype": "FP99"}]},
    "datatype in small letters": {"inputs": [FEATURES | {"datatype": "fp32"}]},
    "another rank": {"inputs": [FEATURES | {"shape": [4]}]},
    "no dims": {"inputs": [FEATURES | {"shape": []}]},
    "another dim": {"inputs": [FEATURES | {"shape": [1, 5], "data": [1] * 5}]},
    "output unknown": {"inputs": [FEATURES], "outputs": [{"name": "nope"}]},
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_requests_that_do_not_fit_the_model_are_refused(server: Endpoint, body: Any) -> None:
    answer = server.infer("mlp", body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert list(answer.json()) == ["error"] and answer.error


MALFORMED: dict[str, Any] = {
    "no JSON": b"{'inputs'",
    "no object": b"[]",
    "something after it": json.dumps({"inputs": [FEATURES]}).encode() + b" x",
    "deep": b"[" * 50_000,
    "no inputs": {},
    "inputs an object": {"inputs": {}},
    "no name": {"inputs": [without("name")]},
    "no datatype": {"inputs": [without("datatype")]},
    "datatype a number": {"inputs": [FEATURES | {"datatype": 3}]},
    "no shape": {"inputs": [without("shape")]},
    "shape a number": {"inputs": [FEATURES | {"shape": 4}]},
    "dim a bool": {"inputs": [FEATURES | {"shape": [True, 4]}]},
    "dim a fraction": {"inputs": [FEATURES | {"shape": [1.0, 4]}]},
    "dim a text": {"inputs": [FEATURES | {"shape": ["1", 4]}]},
    "dim negative": {"inputs": [FEATURES | {"shape": [-1, 4]}]},
    "too few": {"inputs": [FEATURES | {"data": [1]}]},
    "too many": {"inputs": [FEATURES | {"data": [1] * 5}]},
    "data an object": {"inputs": [FEATURES | {"data": {}}]},
    "data a number": {"inputs": [FEATURES | {"data": 4}]},
    "data null": {"inputs": [FEATURES | {"data": None}]},
    "text for numbers": {"inputs": [FEATURES | {"data": ["1", "2", "3", "4"]}]},
    "bools for numbers": {"inputs": [FEATURES | {"data": [True, 1, 1, 1]}]},
    "null for numbers": {"inputs": [FEATURES | {"data": [None, 1, 1, 1]}]},
    "a number of 400 digits": {"inputs": [FEATURES | {"data": [10**400, 1, 1, 1]}]},
    "id a number": {"id": 5, "inputs": [FEATURES]},
    "parameters a list": {"parameters": [], "inputs": [FEATURES]},
    "a flag that is a number": {"parameters": {"binary_data_output": 1}, "inputs": [FEATURES]},
    "outputs an object": {"inputs": [FEATURES], "outputs": {}},
    "output a text": {"inputs": [FEATURES], "outputs": ["probabilities"]},
    "output without name": {"inputs": [FEATURES], "outputs": [{}]},
    "a timeout of letters": {"parameters": {"timeout": "soon"}, "inputs": [FEATURES]},
    "a priority below zero": {"parameters": {"priority": -1}, "inputs": [FEATURES]},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused(server: Endpoint, body: Any) -> None:
    answer = server.infer("mlp", body)
    assert answer.status == server.differs("wrong-request", triton=500, here=400)
    assert list(answer.json()) == ["error"] and answer.error


def test_json_that_is_not_utf_8(server: Endpoint) -> None:
    text = json.dumps({"unread": "?", "inputs": [FEATURES]}).encode().replace(b"?", b"\xff")
    assert server.infer("mlp", text).status == server.differs("utf-8", triton=200, here=400)


def test_inputs_that_the_graph_refuses_while_running(server: Endpoint) -> None:
    answer = server.infer("two", {"inputs": [*TWO[:2], tensor("index", "INT64", [1], data=[7])]})
    assert answer.status == 400
    assert "indices element out of data bounds" in answer.error
    assert "ONNXRuntimeError" not in answer.error and ".cc" not in answer.error
    assert server.infer("two", {"inputs": TWO}).status == 200
