"""Which engine an image takes for a GPU, what it says where there is none, and which inputs an engine refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.serve.http.answers import Refusal
from builder.serve.models.engine_files import Engine, choose
from builder.serve.models.model_folder import ModelFolder, ModelUnusable

INDEX: dict[str, Any] = {
    "schema": 1,
    "runtime": "tensorrt-rtx",
    "version": "1.7.1.116",
    "precision": "fp16",
    "inputs": {"x": {"min": [1, 3], "opt": [1, 3], "max": [32, 3]}},
    "engines": [
        {"capability": "8.6", "graph": "1.7.1.116-sm86.onnx", "engine": "1.7.1.116-sm86.engine"},
        {"capability": "12.0", "graph": "1.7.1.116-sm120.onnx", "engine": "1.7.1.116-sm120.engine"},
    ],
}


def folder(tmp_path: Path, index: object = INDEX) -> ModelFolder:
    place = tmp_path / "m" / "1" / "engines"
    place.mkdir(parents=True)
    (place / "index.json").write_text(json.dumps(index))
    return ModelFolder(path=tmp_path / "m", name="m", version="1")


def test_the_engine_of_the_very_capability_is_taken(tmp_path: Path) -> None:
    choice = choose(folder(tmp_path), (12, 0))
    assert choice.said == "engine of TensorRT-RTX 1.7.1.116 for 12.0 (fp16)"
    assert choice.engine is not None
    assert choice.engine.graph == tmp_path / "m" / "1" / "engines" / "1.7.1.116-sm120.onnx"
    assert choice.engine.most_rows == 32


@pytest.mark.parametrize("capability", [(8, 9), (12, 1), (9, 0), (8, 0)])
def test_no_engine_for_the_gpu_leaves_the_onnx_and_says_so(tmp_path: Path, capability: tuple[int, int]) -> None:
    choice = choose(folder(tmp_path), capability)
    assert choice.engine is None
    text = ".".join(map(str, capability))
    assert choice.said == f"the provider compiles the ONNX: the engines are for 8.6, 12.0, this GPU has {text}"


def test_an_image_without_engines_says_so(tmp_path: Path) -> None:
    choice = choose(ModelFolder(path=tmp_path, name="m", version="1"), (8, 6))
    assert (choice.engine, choice.said) == (None, "the provider compiles the ONNX: the image has no engines")


@pytest.mark.parametrize(
    "wrong", [[], {}, {**INDEX, "schema": 2}, {**INDEX, "engines": [{}]}, {**INDEX, "inputs": {"x": {"min": [1]}}}]
)
def test_an_index_that_is_wrong_is_named(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(ModelUnusable, match=r"engines/index\.json is not as expected"):
        choose(folder(tmp_path, wrong), (8, 6))


def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    engine = {**INDEX["engines"][0], "graph": "../../../etc/passwd"}
    choice = choose(folder(tmp_path, {**INDEX, "engines": [engine]}), (8, 6))
    assert choice.engine is not None
    assert choice.engine.graph == tmp_path / "m" / "1" / "engines" / "passwd"


def test_an_engine_that_cannot_be_loaded_leaves_the_onnx_and_says_so(tmp_path: Path) -> None:
    choice = choose(folder(tmp_path), (8, 6)).without("it is of another version")
    assert choice.engine is None
    assert choice.said.endswith(
        "the engine of TensorRT-RTX 1.7.1.116 for 8.6 (fp16) cannot be loaded: it is of another version"
    )


def rows(number: int, width: int = 3) -> dict[str, Any]:
    return {"x": np.zeros((number, width), np.float32)}


def test_inputs_outside_of_the_sizes_are_refused(tmp_path: Path) -> None:
    engine = choose(folder(tmp_path), (8, 6)).engine
    assert engine is not None
    engine.check("m", rows(1))
    engine.check("m", rows(32))
    with pytest.raises(Refusal) as refused:
        engine.check("m", rows(33))
    assert refused.value.status == 400
    assert "input 'x' of model 'm' has 33 in dim 0; the engine for this GPU takes 1 to 32" in refused.value.message
    with pytest.raises(Refusal, match="has 4 in dim 1; the engine for this GPU takes 3"):
        engine.check("m", rows(1, 4))


def test_without_dynamic_inputs_nothing_is_bounded() -> None:
    engine = Engine(graph=Path("g"), about="")
    assert engine.most_rows == 0
    engine.check("m", rows(1000))
