"""Plain models: text, image files and a user's own code, in JSON and binary, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
import textwrap
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.http as triton

from builder.model.generate_plain import png
from builder.model.golden import GoldenCase, write_case
from tests.support import plain_models
from tests.support.onnx_models import mlp, place
from tests.support.servers import Answer, RunningServer, ask, running

HANDLER = """
    import os
    import numpy as np

    class Unreadable(Exception):
        status = 422

    def preprocess(inputs):
        rows = []
        for item in inputs["line"]:
            if item == b"broken":
                raise RuntimeError("the secret of line " + item.decode())
            numbers = item.decode().split(",")
            if len(numbers) != 4:
                raise Unreadable(f"a line needs 4 numbers, got {len(numbers)}")
            rows.append([float(number) for number in numbers])
        inputs["line"][:] = b"mine to change"
        return {"x": np.array(rows, np.float32).reshape(-1, 4)}

    def postprocess(outputs, inputs):
        best = outputs["p"].argmax(axis=1)
        return {"best": np.array([f"class {number}" for number in best]), "raw": [b"\\xff\\x00"] * len(best)}
"""
LINES = {
    "schema": 1,
    "inputs": [{"name": "line", "datatype": "BYTES", "shape": ["batch"]}],
    "outputs": [
        {"name": "best", "datatype": "BYTES", "shape": ["batch"]},
        {"name": "raw", "datatype": "BYTES", "shape": ["batch"]},
    ],
    "before": {"step": "handler", "file": "handler.py", "feeds": {"x": "x"}},
    "after": {"step": "handler", "file": "handler.py", "takes": {"p": "p"}},
}
TEXTS = ["The quick brown fox", "", "jumps over the lazy dog in Berlin"]
WORDS = {word: number for number, word in enumerate(plain_models.WORDS)}


def expected(text: str) -> np.ndarray[Any, Any]:
    """The embedding by hand: [CLS] words [SEP], at most 16, their vectors' mean."""
    words = [WORDS.get(word, 1) for word in text.lower().split()][:14]
    table = onnx.numpy_helper.to_array(plain_models.embedder().graph.initializer[0])
    return np.asarray(table[[2, *words, 3]].mean(axis=0))


def place_plain(models: Path, name: str, model: onnx.ModelProto, interface: dict[str, Any]) -> Path:
    """The plain model and its graph as mbuild lays them out; the plain one's version folder."""
    place(models, f"{name}-tensors", model)
    folder = models / name / "1"
    folder.mkdir(parents=True)
    (folder / "interface.json").write_text(json.dumps({**interface, "tensors": f"{name}-tensors"}))
    if interface["before"].get("file") == "tokenizer.json":
        (folder / "tokenizer.json").write_text(json.dumps(plain_models.tokenizer()))
    if "handler.py" in json.dumps(interface):
        (folder / "handler.py").write_text(textwrap.dedent(HANDLER))
        case = GoldenCase(name="one", inputs={"line": np.array([b"1,2,3,4"])}, outputs={})
        place_case(models / name, case)
    return folder


def place_case(folder: Path, case: GoldenCase) -> None:
    (folder / "golden").mkdir()
    (folder / "golden" / f"{case.name}.npz").write_bytes(write_case(case))


def colours(*pixels: tuple[int, int, int]) -> list[bytes]:
    return [png(np.full((5, 9, 3), pixel, np.uint8), "RGB") for pixel in pixels]


@pytest.fixture(scope="module")
def plain_server(server_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    models = tmp_path_factory.mktemp("plain")
    place_plain(models, "embed", plain_models.embedder(), plain_models.embedding_interface())
    place_plain(models, "tag", plain_models.tagger(), plain_models.tagging_interface())
    place_plain(models, "colour", plain_models.brightness(), plain_models.colour_interface())
    image = np.array([colours((255, 0, 0))[0]])
    place_case(models / "colour", GoldenCase(name="red", inputs={"image": image}, outputs={}))
    place_plain(models, "lines", mlp(), LINES)
    with running(server_source, models) as server:
        yield server.ready()
        server.send_signal()
        assert server.exit_code() == 0


@pytest.fixture(scope="module")
def address(plain_server: RunningServer) -> str:
    return plain_server.address


def infer(address: str, model: str, name: str, values: list[Any], **more: Any) -> Answer:
    entry = {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": values, **more}
    return ask(address, "POST", f"/v2/models/{model}/infer", {"inputs": [entry]})


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def test_text_in_json_gives_the_same_whatever_its_company(address: str) -> None:
    together = outputs(infer(address, "embed", "text", TEXTS))["embedding"]
    np.testing.assert_allclose(np.reshape(together, (3, 4)), [expected(text) for text in TEXTS], atol=1e-6)
    for text in TEXTS:
        alone = outputs(infer(address, "embed", "text", [text]))["embedding"]
        np.testing.assert_allclose(alone, expected(text), atol=1e-6)


def test_text_by_tritonclient_in_binary(address: str) -> None:
    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("text", [3], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], object))
    found = client.infer("embed", [tensor]).as_numpy("embedding")
    np.testing.assert_allclose(found, [expected(text) for text in TEXTS], atol=1e-6)
    client.close()


def test_a_batch_of_none_and_a_text_longer_than_the_model_reads(address: str) -> None:
    answer = infer(address, "embed", "text", []).json()["outputs"][0]
    assert (answer["shape"], answer["data"]) == ([0, 4], [])
    long = outputs(infer(address, "embed", "text", ["fox " * 5000]))["embedding"]
    np.testing.assert_allclose(long, expected("fox " * 14), atol=1e-6)


def test_a_text_that_is_too_long_is_refused_where_the_model_wants_it_whole(server_source: Path, tmp_path: Path) -> None:
    interface = plain_models.embedding_interface()
    interface["before"]["truncate"] = False
    place_plain(tmp_path, "whole", plain_models.embedder(), interface)
    with running(server_source, tmp_path) as server:
        address = server.ready().address
        assert infer(address, "whole", "text", ["fox " * 14]).status == 200
        answer = infer(address, "whole", "text", ["the dog", "fox " * 15])
        assert (answer.status, answer.error) == (400, "input 'text': element 1 has 17 tokens, the model takes 16")


def test_a_text_as_the_whole_body(address: str) -> None:
    answer = ask(address, "POST", "/v2/models/embed/infer", b"the lazy dog", {"Content-Type": "text/plain"})
    np.testing.assert_allclose(outputs(answer)["embedding"], expected("the lazy dog"), atol=1e-6)


def test_text_that_is_not_utf_8_is_refused_with_its_place(address: str) -> None:
    entry = {"name": "text", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}}
    head = json.dumps({"inputs": [entry]}).encode()
    body = head + struct.pack("<I", 1) + b"a" + struct.pack("<I", 2) + b"\xff\xfe"
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = ask(address, "POST", "/v2/models/embed/infer", body, headers)
    assert (answer.status, answer.error) == (400, "input 'text': element 1 is not UTF-8")


def test_entities_have_their_place_in_the_text(address: str) -> None:
    found = [
        json.loads(each)
        for each in outputs(infer(address, "tag", "text", ["Grüße: the Fox in Berlin", "the"]))["entities"]
    ]
    assert [(one["text"], one["label"], one["start"], one["end"]) for one in found[0]] == [
        ("Fox", "ANIMAL", 11, 14),
        ("Berlin", "PLACE", 18, 24),
    ]
    assert 0.9 < found[0][0]["score"] < 1
    assert found[1] == []


def test_an_image_file_as_the_whole_body_gives_its_label(address: str) -> None:
    for colour, pixel in (("red", (250, 3, 3)), ("blue", (0, 9, 240))):
        answer = ask(address, "POST", "/v2/models/colour/infer", colours(pixel)[0], {"Content-Type": "image/png"})
        found = outputs(answer)
        assert found["label"] == [colour]
        scores = np.exp(np.array(pixel) / 255)
        np.testing.assert_allclose(found["scores"], scores / scores.sum(), atol=1e-6)


def test_images_as_base64_and_in_binary(address: str) -> None:
    files = colours((0, 255, 0), (255, 0, 0))
    coded = [base64.b64encode(file).decode() for file in files]
    assert outputs(infer(address, "colour", "image", coded, parameters={"content_type": "base64"}))["label"] == [
        "green",
        "red",
    ]
    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("image", [2], "BYTES")
    tensor.set_data_from_numpy(np.array(files, object))
    assert client.infer("colour", [tensor]).as_numpy("label").tolist() == [b"green", b"red"]
    client.close()


def claiming(width: int, height: int) -> bytes:
    """A PNG whose head says that it is as large as that."""
    file = bytearray(png(np.zeros((1, 1, 3), np.uint8), "RGB"))
    file[16:24] = struct.pack(">II", width, height)
    file[29:33] = struct.pack(">I", zlib.crc32(bytes(file[12:29])))
    return bytes(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", "element 0 is not an image file"),
        (b"", "element 0 is not an image file"),
        (colours((1, 2, 3))[0][:60], "element 0 is a broken image file"),
        (claiming(100_000, 100_000), "has 100000 x 100000 pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image file"),
    ],
)
def test_what_is_no_image_is_refused(address: str, content: bytes, words: str) -> None:
    answer = ask(address, "POST", "/v2/models/colour/infer", content, {"Content-Type": "image/png"})
    assert answer.status == 400
    assert words in answer.error


def test_broken_base64_is_refused(address: str) -> None:
    answer = infer(address, "colour", "image", ["@@@"], parameters={"content_type": "base64"})
    assert answer.status == 400
    assert "element 0 is not base64" in answer.error


def test_the_users_own_code(address: str) -> None:
    wanted = [{"name": "best"}]
    entry = {"name": "line", "datatype": "BYTES", "shape": [2], "data": ["1,2,3,4", "-9,0,0,0"]}
    answer = ask(address, "POST", "/v2/models/lines/infer", {"inputs": [entry], "outputs": wanted})
    rows = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [1, 2, 3, 4, -9, 0, 0, 0]}
    scores = outputs(ask(address, "POST", "/v2/models/lines-tensors/infer", {"inputs": [rows]}))["p"]
    best = np.reshape(scores, (2, 3)).argmax(axis=1)
    assert outputs(answer)["best"] == [f"class {number}" for number in best]


def test_the_users_code_says_what_is_the_clients_mistake(address: str) -> None:
    answer = infer(address, "lines", "line", ["1,2"])
    assert (answer.status, answer.error) == (400, "a line needs 4 numbers, got 2")


def test_a_mistake_of_the_users_code_is_told_to_the_log_alone(plain_server: RunningServer) -> None:
    answer = infer(plain_server.address, "lines", "line", ["broken"])
    assert answer.status == 500
    assert "preprocess of handler.py raised RuntimeError" in answer.error
    assert "secret" not in answer.error
    event = plain_server.event("model 'lines'")
    assert "the secret of line" in event["user_code"]
    assert 'raise RuntimeError("the secret' in event["user_code"]


def test_bytes_that_are_no_text_travel_in_binary_only(address: str) -> None:
    answer = infer(address, "lines", "line", ["1,2,3,4"])
    assert answer.status == 400
    assert "ask for it with binary_data" in answer.error
    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("line", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"1,2,3,4"], object))
    assert client.infer("lines", [tensor]).as_numpy("raw").tolist() == [b"\xff\x00"]
    client.close()


def test_both_models_are_listed_and_described(address: str) -> None:
    listed = {each["name"] for each in ask(address, "POST", "/v2/repository/index").json()}
    assert {"embed", "embed-tensors", "colour", "colour-tensors"} <= listed
    metadata = ask(address, "GET", "/v2/models/colour").json()
    assert metadata["platform"] == "mbuild_plain"
    assert metadata["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"][1]["parameters"] == {"labels": ["red", "green", "blue"]}
    assert ask(address, "GET", "/v2/models/colour-tensors").json()["platform"] == "onnxruntime_onnx"
    assert ask(address, "GET", "/v2/models/embed/config").json()["backend"] == "python"


def test_the_graph_itself_is_served_too(address: str) -> None:
    ids = {"datatype": "INT64", "shape": [1, 2]}
    body = {"inputs": [{"name": "input_ids", "data": [2, 3], **ids}, {"name": "attention_mask", "data": [1, 1], **ids}]}
    answer = ask(address, "POST", "/v2/models/embed-tensors/infer", body)
    np.testing.assert_allclose(outputs(answer)["sentence_embedding"], expected(""), atol=1e-6)


def test_the_document_says_how_people_ask_each_model(address: str) -> None:
    tags = {tag["name"]: tag["x-model"] for tag in ask(address, "GET", "/openapi.json").json()["tags"]}
    wanted = {"embed": "text", "colour": "image", "lines": "text", "colour-tensors": "tensors"}
    assert {name: tags[name]["takes"] for name in wanted} == wanted
    assert tags["colour"]["labels"] == {"scores": ["red", "green", "blue"]}
    assert tags["colour"]["runtime"].startswith("onnxruntime ")
    assert tags["colour"]["verified"] is None  # there is no parity.json


def test_the_page_has_an_example_that_works(address: str) -> None:
    paths = ask(address, "GET", "/openapi.json").json()["paths"]
    for model in ("embed", "colour", "lines"):
        content = paths[f"/v2/models/{model}/infer"]["post"]["requestBody"]["content"]
        example = content["application/json"]["example"]
        wanted = [{"name": "best"}] if model == "lines" else []
        answer = ask(address, "POST", f"/v2/models/{model}/infer", {**example, "outputs": wanted})
        assert answer.status == 200, answer.body
        assert "image/*" in content


def last_words(server: RunningServer) -> str:
    """The error that the server ended with."""
    for _ in range(500):
        for event in server.events:
            if event["level"] == "error":
                return str(event["message"])
        time.sleep(0.01)
    raise AssertionError(server.events)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json is not a tokenizer"),
        (lambda folder: (folder / "interface.json").write_text('{"schema": 2}'), "is not of schema 1"),
        (lambda folder: (folder / "interface.json").write_text('{"schema": 1}'), "is not as expected"),
        (
            lambda folder: (folder / "interface.json").write_text(
                json.dumps({**plain_models.embedding_interface(), "tensors": "other"})
            ),
            "is for a model 'other', which is not there",
        ),
    ],
)
def test_a_plain_model_that_is_not_whole_is_never_ready(
    server_source: Path, tmp_path: Path, change: Any, words: str
) -> None:
    folder = place_plain(tmp_path, "embed", plain_models.embedder(), plain_models.embedding_interface())
    change(folder)
    with running(server_source, tmp_path) as server:
        assert server.exit_code() == 1
        assert words in last_words(server)


def test_a_handler_that_fails_its_warm_up_says_where(server_source: Path, tmp_path: Path) -> None:
    folder = place_plain(tmp_path, "lines", mlp(), LINES)
    code = (folder / "handler.py").read_text().replace("float(number)", "int(number, 1)")
    (folder / "handler.py").write_text(code)
    with running(server_source, tmp_path) as server:
        assert server.exit_code() == 1
        message = last_words(server)
        assert "The warm-up of model 'lines' failed" in message
        assert "ValueError" in message
        assert "int(number, 1)" in message
