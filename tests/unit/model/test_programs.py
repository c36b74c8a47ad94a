"""A request as a curl line and as Python."""

from __future__ import annotations

import ast
import json
import shlex
from typing import Any

import pytest

from builder.model.programs import Access, curl, example_of, python
from builder.model.signature import Datatype, Signature, TensorSpec

HERE = Access(url="http://127.0.0.1:8000")


def tensor(name: str, datatype: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, datatype=Datatype(datatype), shape=shape)


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> Signature:
    return Signature(inputs=inputs, outputs=outputs or (tensor("y", "FP32", "n"),))


def request(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": list(entries)}


def body(line: str) -> Any:
    words = shlex.split(line.replace("\\\n", ""))
    return json.loads(words[words.index("--data-raw") + 1])


def test_of_a_batch_the_first_row_in_numbers_as_short_as_they_are() -> None:
    given = request({"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [0.10000000149011612, 3.0, 5, 6]})
    example = example_of("m", signature(tensor("x", "FP32", "n", 2)), given)
    assert body(curl(example, HERE)) == request({"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 3]})
    assert '"data":[0.1,3]' in curl(example, HERE)
    assert "np.array([0.1, 3], np.float32).reshape((1, 2))" in python(example, HERE)


def test_rows_of_a_fixed_number_stay() -> None:
    given = request({"name": "x", "datatype": "INT64", "shape": [2], "data": [1, 2]})
    example = example_of("m", signature(tensor("x", "INT64", 2)), given)
    assert body(curl(example, HERE))["inputs"][0]["data"] == [1, 2]


def test_inputs_of_different_lengths_stay() -> None:
    given = request(
        {"name": "a", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        {"name": "b", "datatype": "BYTES", "shape": [1], "data": ["it's"]},
    )
    example = example_of("m", signature(tensor("a", "BOOL", "n"), tensor("b", "BYTES", "k")), given)
    assert body(curl(example, HERE)) == given
    program = python(example, HERE)
    assert "tensor_0.set_data_from_numpy(np.array([True, False], np.bool_))" in program
    assert 'client.infer("m", [tensor_0, tensor_1])' in program
    ast.parse(program)


def test_without_an_example_zeros_in_the_declared_shape() -> None:
    example = example_of("m", signature(tensor("x", "FP32", "n", 3), tensor("t", "BYTES", "n")))
    assert [entry["data"] for entry in body(curl(example, HERE))["inputs"]] == [[0, 0, 0], ["text"]]


def test_what_is_long_is_zeros_in_binary() -> None:
    about = {"takes": "tensors", "shapes": {"x": [1, 3, 100, 100]}}
    example = example_of("m", signature(tensor("x", "FP32", "n", 3, "h", "w")), None, about)
    line = curl(example, HERE)
    assert line.startswith("{ printf %s '{") and "head -c 120000 /dev/zero; } | curl " in line
    head = shlex.split(line)[3].removesuffix(";")
    assert f"-H 'Inference-Header-Content-Length: {len(head)}'" in line
    assert json.loads(head)["inputs"][0]["parameters"] == {"binary_data_size": 120000}
    assert "np.zeros((1, 3, 100, 100), np.float32)" in python(example, HERE)


def test_a_long_example_lends_its_shape() -> None:
    given = request({"name": "x", "datatype": "FP64", "shape": [1, 900], "data": [0.123456] * 900})
    example = example_of("m", signature(tensor("x", "FP64", "n", "m")), given)
    assert "head -c 7200 /dev/zero" in curl(example, HERE)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_have_no_json(datatype: str) -> None:
    wide = signature(tensor("x", datatype, 4), outputs=(tensor("y", datatype, 4), tensor("n", "INT8", 4)))
    line = curl(example_of("m", wide), HERE)
    assert "head -c 8 /dev/zero" in line and line.endswith("--output answer.bin")
    wanted = json.loads(shlex.split(line)[3].removesuffix(";"))["outputs"]
    assert wanted == [{"name": "y", "parameters": {"binary_data": True}}, {"name": "n"}]
    assert ("import ml_dtypes" in python(example_of("m", wide), HERE)) == (datatype == "BF16")


def test_a_text_is_the_whole_body() -> None:
    given = request({"name": "text", "datatype": "BYTES", "shape": [2], "data": ["it's $HOME", "b"]})
    example = example_of("m", signature(tensor("text", "BYTES", "n")), given, {"takes": "text"})
    words = shlex.split(curl(example, HERE).replace("\\\n", ""))
    assert words[-2:] == ["--data-raw", "it's $HOME"]
    assert "Content-Type: text/plain; charset=utf-8" in words
    assert 'np.array(["it\'s $HOME"], object)' in python(example, HERE)


@pytest.mark.parametrize(("start", "kind"), [("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("AAAA", "image/png")])
def test_an_image_is_decoded_by_the_line(start: str, kind: str) -> None:
    coded = {"parameters": {"content_type": "base64"}}
    given = request({"name": "image", "datatype": "BYTES", "shape": [1], "data": [start], **coded})
    example = example_of("m", signature(tensor("image", "BYTES", "n")), given, {"takes": "image"})
    line = curl(example, HERE)
    assert line.startswith(f"echo {start} | base64 -d | curl ") and kind in line
    assert "base64.b64decode" in python(example, HERE)


@pytest.mark.parametrize("given", [None, "x" * 9000])
def test_a_long_image_gives_way_to_a_small_one(given: str | None) -> None:
    entry = {"name": "i", "datatype": "BYTES", "shape": [1], "data": [given], "parameters": {"content_type": "base64"}}
    example = example_of(
        "m", signature(tensor("i", "BYTES", "n")), request(entry) if given else None, {"takes": "image"}
    )
    assert curl(example, HERE).startswith("echo iVBOR")


def test_keys_and_certificates() -> None:
    access = Access(url="https://localhost:8000", wants_key=True, authority="/my tls/ca.crt", wants_certificate=True)
    example = example_of("m", signature(tensor("x", "FP32", 1)))
    line = curl(example, access)
    assert "curl https://localhost:8000/v2/models/m/infer \\\n  --cacert '/my tls/ca.crt' \\\n" in line
    assert "--cert client.crt --key client.key" in line
    assert '-H "Authorization: Bearer $API_KEY"' in line
    program = python(example, access)
    assert (
        'InferenceServerClient("localhost:8000", ssl=True, ssl_options={"ca_certs": "/my tls/ca.crt", "certfile"'
        in program
    )
    assert 'headers={"Authorization": "Bearer " + os.environ["API_KEY"]}' in program
    assert program.startswith("import os\n\nimport numpy")
