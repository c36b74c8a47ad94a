"""Graphs that differ in names and order alone become the same bytes."""

from __future__ import annotations

import importlib.util
import random
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from builder.resources import worker_source


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    path = worker_source("onnx_canonical")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def graph(seed: int) -> Any:
    """Two weights (one of them twice), a dead branch, and a Loop that takes a weight from outside and gives one value
    twice: names and the order of what may be reordered come from ``seed``."""
    mixed = random.Random(seed)
    keys = ("w", "v", "u", "dead", "a", "b", "p", "q", "s", "t", "one", "keep", "again")
    name = {key: f"{key}__{mixed.randrange(1000, 9999)}" for key in keys}
    weight = np.arange(4, dtype=np.float32).reshape(2, 2)
    constants = [
        numpy_helper.from_array(weight, name["w"]),
        numpy_helper.from_array(weight, name["v"]),
        numpy_helper.from_array(np.array(3, np.int64), name["u"]),
        numpy_helper.from_array(np.array(True), name["keep"]),
        numpy_helper.from_array(weight + 1, name["dead"]),
    ]
    first = mixed.random() < 0.5  # which of two equal outputs is the Identity of the other
    value, twin = (name["s"], name["t"]) if first else (name["t"], name["s"])
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], [name["again"]], name=name["again"]),
            helper.make_node("MatMul", ["state", name["w"]], [value]),
            helper.make_node("Identity", [value], [twin]),
        ],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), flag, floats("state", f"unk__{seed}", 2)],
        [helper.make_tensor_value_info(name["again"], TensorProto.BOOL, []), floats(name["s"]), floats(name["t"])],
    )
    branches = [
        helper.make_node("MatMul", ["x", name["w"]], [name["a"]], name=name["a"]),
        helper.make_node("MatMul", ["x", name["v"]], [name["b"]], name=name["b"]),
        helper.make_node("Add", ["x", name["dead"]], [name["one"]]),
    ]
    mixed.shuffle(branches)
    mixed.shuffle(constants)
    nodes = [
        *branches,
        helper.make_node("Add", [name["a"], name["b"]], [name["p"]]),
        helper.make_node("Loop", [name["u"], name["keep"], name["p"]], [name["q"], "y"], body=body),
    ]
    made = helper.make_graph(nodes, f"g{seed}", [floats("x")], [floats("y", "n", "batch", 2)], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def floats(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or ("batch", 2))


def test_names_and_order_do_not_matter(worker: ModuleType) -> None:
    written = set()
    x = np.array([[1, 2]], np.float32)
    for seed in range(8):
        model = graph(seed)
        before = ReferenceEvaluator(model).run(None, {"x": x})
        worker.canonical(model)
        onnx.checker.check_model(model, full_check=True)
        np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"x": x})[0], before[0])
        written.add(model.SerializeToString(deterministic=True))
    assert len(written) == 1
    kept = onnx.ModelProto.FromString(written.pop()).graph
    assert [tensor.name for tensor in (*kept.input, *kept.output)] == ["x", "y"]
    assert [node.op_type for node in kept.node] == ["MatMul", "MatMul", "Add", "Loop"]
    assert len(kept.initializer) == 3, "equal weights are one, the dead one is gone"


def test_other_weights_are_other_bytes(worker: ModuleType) -> None:
    models = [graph(1), graph(1)]
    changed = next(tensor for tensor in models[1].graph.initializer if tensor.name.startswith("w__"))
    changed.raw_data = np.ones((2, 2), np.float32).tobytes()
    for model in models:
        worker.canonical(model)
    assert models[0].SerializeToString() != models[1].SerializeToString()
