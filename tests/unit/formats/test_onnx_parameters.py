"""How many parameters a graph has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.formats.onnx_parameters import read_parameters
from builder.model.parameters import Parameters
from tests.support.models import save_layers


def saved(path: Path, *tensors: onnx.TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"]), *nodes], "g", [value], [value], [*tensors])
    onnx.save(helper.make_model(graph), path / "model.onnx")
    return path / "model.onnx"


def tensor(name: str, shape: tuple[int, ...], dtype: type) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def test_weights_are_counted_and_shapes_are_not(tmp_path: Path) -> None:
    path = saved(
        tmp_path, tensor("w", (30, 40), np.float32), tensor("b", (40,), np.float32), tensor("s", (3,), np.int64)
    )
    assert read_parameters(path) == Parameters(count=1_240, precision=("float32",))


def test_the_datatype_of_most_comes_first_and_scales_say_nothing(tmp_path: Path) -> None:
    quantized = tensor("q", (100, 100), np.int8)
    path = saved(tmp_path, tensor("scale", (1,), np.float32), tensor("h", (20, 20), np.float16), quantized)
    assert read_parameters(path) == Parameters(count=10_401, precision=("int8", "float16"))


def test_constants_and_graphs_inside_are_counted(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"], value=tensor("c", (7,), np.float32))
    inner = helper.make_graph([constant], "then", [], [], [tensor("i", (5,), np.float32)])
    node = helper.make_node("If", ["cond"], ["z"], then_branch=inner, else_branch=inner)
    assert read_parameters(saved(tmp_path, nodes=(constant, node))).count == 7 + 2 * (7 + 5)


@pytest.mark.parametrize(("bits", "precision"), [(4, "int4"), (8, "int8")])
def test_several_weights_in_a_byte(tmp_path: Path, bits: int, precision: str) -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "scale"], ["z"], domain="com.microsoft", K=64, N=10, bits=bits, block_size=32
    )
    packed, scale = tensor("w", (10, 2, 2 * bits), np.uint8), tensor("scale", (20,), np.float32)
    found = read_parameters(saved(tmp_path, packed, scale, nodes=(node,)))
    assert found == Parameters(count=660, precision=(precision, "float32"))


def test_no_weight_is_read(tmp_path: Path) -> None:
    path = save_layers(tmp_path / "model.onnx", 2)
    for file in tmp_path.iterdir():
        if file != path:
            file.unlink()
    assert read_parameters(path) == Parameters(count=2 << 18, precision=("float32",))


def test_a_model_without_any(tmp_path: Path) -> None:
    assert read_parameters(saved(tmp_path)) == Parameters()
