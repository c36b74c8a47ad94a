"""Models of all kinds, from the graph to an image that answers, or to a sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.scenarios.conftest import Mbuild
from tests.support.onnx_models import identity

pytestmark = pytest.mark.network


def saved(directory: Path, model: onnx.ModelProto) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(directory / "model.onnx"))
    return directory


def graph(
    nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int | str, ...]], outputs: dict[str, tuple[int | str, ...]]
) -> onnx.ModelProto:
    tensors = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    opset = helper.make_opsetid("", 18)
    return helper.make_model(helper.make_graph(nodes, "g", *tensors), opset_imports=[opset], ir_version=9)


MODELS = {
    "scalar": graph([helper.make_node("Neg", ["x"], ["y"])], {"x": ()}, {"y": ()}),
    "sum": graph([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], {"x": ("n", 3)}, {"y": ()}),
    "empty": graph([helper.make_node("Neg", ["x"], ["y"])], {"x": (0, 4)}, {"y": (0, 4)}),
    "names": graph([helper.make_node("Neg", ["a/b:0 é"], ["out put"])], {"a/b:0 é": ("m /ü",)}, {"out put": ("m /ü",)}),
    "constant": graph([helper.make_node("Constant", [], ["y"], value_floats=[1.0, 2.0])], {}, {"y": (2,)}),
    "text": identity("BYTES"),
    "half": identity("FP16"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_and_answers(mbuild: Mbuild, tmp_path: Path, name: str) -> None:
    report = mbuild.json(saved(tmp_path / name, MODELS[name]), "--no-load")["test"]
    assert all(case["json"]["passed"] and case["binary"]["passed"] for case in report["cases"])
    assert report["stop_seconds"] < 5


def test_a_model_of_chance_is_told_from_a_wrong_image(mbuild: Mbuild, tmp_path: Path) -> None:
    model = graph([helper.make_node("RandomNormalLike", ["x"], ["y"])], {"x": ("n", 4)}, {"y": ("n", 4)})
    done = mbuild(saved(tmp_path / "dice", model), "--no-load")
    assert done.returncode == 6
    assert "error (not-repeatable): the model answers the same inputs differently each time: output 'y'" in done.stderr


def test_a_golden_case_that_cannot_travel_is_refused_at_once(mbuild: Mbuild, tmp_path: Path) -> None:
    model = saved(tmp_path / "large", identity("FP32"))
    (model / "golden").mkdir()
    np.savez_compressed(model / "golden" / "large.npz", x=np.zeros((1 << 20, 65), np.float32))
    done = mbuild(model, "--no-load")
    assert done.returncode == 3
    assert "golden/large.npz: it unpacks to" in done.stderr


def test_a_path_that_the_locale_cannot_spell(mbuild: Mbuild, tmp_path: Path) -> None:
    model = saved(tmp_path / "größe", identity("FP64"))
    (model / "model.yaml").write_text("name: size\ngolden: {seed: 1927}\n")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert mbuild.json("plan", model, **ascii_only) == mbuild.json("plan", model)
