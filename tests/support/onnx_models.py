"""Tiny models made with onnx, and the folder layout in which the server finds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from builder.model.golden import GoldenCase, write_case

DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
    "BF16": TensorProto.BFLOAT16,
}


def identity(datatype: str, shape: tuple[int | str, ...] = ("n", "m")) -> onnx.ModelProto:
    """y = x, of any shape of that rank."""
    element = DATATYPES[datatype]
    return model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": (element, shape)}, {"y": (element, shape)})


def mlp() -> onnx.ModelProto:
    """4 numbers to 3 probabilities, any batch; weights that anyone can compute again."""
    weights = {
        "w1": np.linspace(-1, 1, 64, dtype=np.float32).reshape(4, 16),
        "b1": np.linspace(0, 1, 16, dtype=np.float32),
        "w2": np.linspace(1, -1, 48, dtype=np.float32).reshape(16, 3),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"]),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("MatMul", ["h", "w2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    return model_of(nodes, {"x": (TensorProto.FLOAT, ("n", 4))}, {"p": (TensorProto.FLOAT, ("n", 3))}, weights)


def named_columns(*names: str) -> onnx.ModelProto:
    """A number in each of the named inputs, one row for each, to three probabilities."""
    weights = {"w": np.linspace(-1, 1, 3 * len(names), dtype=np.float32).reshape(len(names), 3)}
    nodes = [
        helper.make_node("Concat", list(names), ["x"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    inputs = dict.fromkeys(names, (TensorProto.FLOAT, ("batch", 1)))
    return model_of(nodes, inputs, {"probabilities": (TensorProto.FLOAT, ("batch", 3))}, weights)


def two_inputs() -> onnx.ModelProto:
    """total = a + b, picked = a at row ``index``: an index out of bounds is only found while running."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Gather", ["a", "index"], ["picked"], axis=0),
    ]
    number = TensorProto.FLOAT
    return model_of(
        nodes,
        {"a": (number, ("n", 2)), "b": (number, ("n", 2)), "index": (TensorProto.INT64, ("k",))},
        {"total": (number, ("n", 2)), "picked": (number, ("k", 2))},
    )


def slow(side: int = 700) -> onnx.ModelProto:
    """Some tens of milliseconds: four products of square matrices, scaled by the input."""
    square = np.full((side, side), 1 / side, dtype=np.float32)
    nodes = [helper.make_node("Mul", ["x", "w"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{i}", "w"], [f"m{i + 1}"]) for i in range(4)]
    nodes.append(helper.make_node("ReduceMean", ["m4"], ["y"], keepdims=1, axes=[0, 1]))
    return model_of(
        nodes, {"x": (TensorProto.FLOAT, (1,))}, {"y": (TensorProto.FLOAT, (1, 1))}, {"w": square}, opset=17
    )


def looked_up() -> onnx.ModelProto:
    """y = table[x], two numbers for each row: a row outside the table is only found while running."""
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    return model_of(
        [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)],
        {"x": (TensorProto.INT64, ("n", "m"))},
        {"y": (TensorProto.FLOAT, ("n", "m", 2))},
        {"table": table},
    )


def centred() -> onnx.ModelProto:
    """y = x - mean of all rows: takes any batch, and each row's answer depends on the others."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    number = TensorProto.FLOAT
    return model_of(nodes, {"x": (number, ("n", 4))}, {"y": (number, ("n", 4))})


def dynamically_quantised() -> onnx.ModelProto:
    """y is x in eight bits, whose scale is that of the whole batch."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    number = TensorProto.FLOAT
    return model_of(nodes, {"x": (number, ("n", 4))}, {"y": (number, ("n", 4))})


def convolved(side: int = 96) -> onnx.ModelProto:
    """As much work for each image, whether it comes alone or with others."""
    filters = np.full((16, 16, 3, 3), 0.01, dtype=np.float32)
    nodes = [helper.make_node("Conv", [f"m{i}", "w"], [f"m{i + 1}"], pads=[1, 1, 1, 1]) for i in range(4)]
    nodes[0].input[0] = "x"
    nodes.append(helper.make_node("ReduceMean", ["m4"], ["y"], keepdims=0, axes=[2, 3]))
    number = TensorProto.FLOAT
    shape = ("n", 16, side, side)
    return model_of(nodes, {"x": (number, shape)}, {"y": (number, ("n", 16))}, {"w": filters})


def place(
    models: Path,
    name: str,
    model: onnx.ModelProto,
    *,
    manifest: Mapping[str, Any] | None = None,
    cases: tuple[GoldenCase, ...] = (),
) -> Path:
    """Writes the model where the server looks for it; the model's folder."""
    folder = models / name
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "model.onnx")
    if manifest is not None:
        (folder / "mbuild.json").write_text(json.dumps({"schema": 1, "name": name, **manifest}))
    for case in cases:
        (folder / "golden").mkdir(exist_ok=True)
        (folder / "golden" / f"{case.name}.npz").write_bytes(write_case(case))
    return folder


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, tuple[int | str, ...]]],
    outputs: Mapping[str, tuple[int, tuple[int | str, ...]]],
    weights: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *what) for name, what in inputs.items()],
        [helper.make_tensor_value_info(name, *what) for name, what in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    return model
