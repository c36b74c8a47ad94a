"""handler.py is read as text: which functions it has, what model.yaml must say of it, what interface it makes."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from builder.model.handler import (
    Handler,
    HandlerInvalid,
    HandlerRequirementInvalid,
    HandlerUndeclared,
    read_handler,
    with_handler,
)
from builder.model.interface import InterfaceInvalid, parse_interface
from builder.model.manifest import ManifestInvalid, ModelManifest, parse_manifest
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import list_model
from tests.support import plain_models
from tests.unit.model.test_interface import EMBEDDER

BOTH = "def preprocess(inputs): ...\ndef postprocess(outputs, inputs): ...\n"
DECLARED = """
handler:
  inputs: {text: {datatype: BYTES, shape: [batch]}}
  outputs: {label: {datatype: BYTES, shape: [batch]}}
"""
GRAPH = Signature(
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=("batch", 4)),),
    outputs=(TensorSpec(name="p", datatype=Datatype.FP32, shape=("batch", 3)),),
)
SERVED = Signature(
    inputs=(TensorSpec(name="features", datatype=Datatype.FP32, shape=("batch", 4)),),
    outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=("batch", 3)),),
)


def manifest(text: str) -> ModelManifest:
    return parse_manifest(text.encode(), PurePosixPath("model.yaml"), "model")


def read(directory: Path, code: str, text: str = DECLARED, **files: str) -> Handler | None:
    for name, content in {"handler.py": code, "model.yaml": text, **files}.items():
        (directory / name.replace("_dot_", ".")).write_text(content)
    return read_handler(list_model(directory), manifest(text).handler)


def found(directory: Path, code: str, text: str = DECLARED, **files: str) -> Handler:
    handler = read(directory, code, text, **files)
    assert handler is not None
    return handler


def test_both_functions_take_the_place_of_the_tensors(tmp_path: Path) -> None:
    interface = with_handler(None, found(tmp_path, BOTH), GRAPH, SERVED)
    assert interface.before == {"step": "handler", "file": "handler.py", "feeds": {"x": "features"}}
    assert interface.after == {"step": "handler", "file": "handler.py", "takes": {"scores": "p"}}
    assert [tensor.name for tensor in interface.signature.inputs] == ["text"]
    assert interface.files == ("handler.py",)


def test_one_function_leaves_the_other_side_as_it_is(tmp_path: Path) -> None:
    text = "handler: {outputs: {label: {datatype: BYTES, shape: [batch]}}}"
    interface = with_handler(None, found(tmp_path, "from rules import postprocess\n", text), GRAPH, SERVED)
    assert interface.before == {"step": "pass", "feeds": {"x": "features"}}
    assert interface.signature.inputs == SERVED.inputs


def test_a_step_of_the_converter_stays_where_the_handler_has_none(tmp_path: Path) -> None:
    whole = parse_interface(json.dumps(plain_models.embedding_interface()).encode(), EMBEDDER)
    text = "handler: {outputs: {topic: {datatype: BYTES, shape: [batch]}}}"
    interface = with_handler(whole, found(tmp_path, "postprocess = print\n", text), EMBEDDER, EMBEDDER)
    assert interface.before["step"] == "tokenize"
    assert interface.after["takes"] == {"sentence_embedding": "sentence_embedding"}
    assert interface.files == ("handler.py", "tokenizer.json")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def preprocess(:\n", "it is not Python"),
        ("async def preprocess(inputs): ...\n", "preprocess is asynchronous"),
        ("def prepare(inputs): ...\n", "defines neither preprocess nor postprocess"),
        ("def preprocess(inputs): ...\n", "declares handler.outputs, and it has no function postprocess"),
    ],
)
def test_code_that_cannot_be_used(tmp_path: Path, code: str, words: str) -> None:
    with pytest.raises(HandlerInvalid, match=words):
        read(tmp_path, code)


def test_what_clients_send_must_be_declared(tmp_path: Path) -> None:
    with pytest.raises(HandlerUndeclared) as caught:
        read(tmp_path, BOTH, "version: 1.0.0")
    assert "preprocess, but model.yaml does not say what clients send" in str(caught.value)
    assert "handler:\n  inputs:\n    text: {datatype: BYTES, shape: [batch]}" in caught.value.advice


def test_the_handler_of_another_program_is_left_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "class EndpointHandler: ...\n", "version: 1.0.0") is None


def test_files_beside_it(tmp_path: Path) -> None:
    text = DECLARED + "  files: ['*.txt', rules.py]\n"
    handler = found(tmp_path, BOTH, text, words_dot_txt="a", rules_dot_py="")
    assert [str(path) for path in handler.files] == ["handler.py", "words.txt", "rules.py"]
    with pytest.raises(HandlerInvalid, match=r"no file fits '\*\.csv'"):
        read(tmp_path, BOTH, DECLARED + "  files: ['*.csv']\n")


def test_requirements_in_a_list_or_in_a_file(tmp_path: Path) -> None:
    listed = found(tmp_path, BOTH, DECLARED + "  requirements: [regex>=2025, rapidfuzz==3.14.3]\n")
    assert listed.requirements == ("regex>=2025", "rapidfuzz==3.14.3")
    text = DECLARED + "  requirements: serving.txt\n"
    content = "# what handler.py imports\nregex>=2025  # for \\p\n\nrapidfuzz==3.14.3\n"
    assert found(tmp_path, BOTH, text, serving_dot_txt=content).requirements == listed.requirements


@pytest.mark.parametrize("line", ["-r other.txt", "regex @ file:///tmp/regex.whl", "--index-url https://a.example"])
def test_what_cannot_be_locked_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(HandlerRequirementInvalid, match="is not a requirement that can be locked"):
        read(tmp_path, BOTH, DECLARED + "  requirements: serving.txt\n", serving_dot_txt=line)


def test_a_file_at_the_top_only() -> None:
    with pytest.raises(ManifestInvalid, match="is not the name of a Python file at the top"):
        manifest("handler: {file: sub/handler.py}")


def test_a_converters_step_must_still_fit(tmp_path: Path) -> None:
    whole = parse_interface(json.dumps(plain_models.embedding_interface()).encode(), EMBEDDER)
    text = "handler: {outputs: {topic: {datatype: BYTES, shape: [batch]}}}"
    with pytest.raises(InterfaceInvalid, match="the graph has no input 'input_ids'"):
        with_handler(whole, found(tmp_path, "postprocess = print\n", text), GRAPH, SERVED)
