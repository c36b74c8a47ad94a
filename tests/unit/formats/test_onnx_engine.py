"""An engine as an ONNX model: the tensors of the graph around one node that names the engine's file."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.formats.onnx_engine import SOURCE, precision_of, wrap_engine
from tests.support import onnx_models


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_the_wrapper_has_the_graphs_tensors_and_no_weights(tmp_path: Path) -> None:
    inner = onnx_models.mlp()
    model = onnx.load_from_string(wrap_engine(saved(tmp_path, inner), "1.7-sm86.engine", "8.6"))
    assert list(model.graph.input) == list(inner.graph.input)
    assert list(model.graph.output) == list(inner.graph.output)
    assert not model.graph.initializer
    (node,) = model.graph.node
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    assert (node.domain, node.op_type) == ("com.microsoft", "EPContext")
    assert (list(node.input), list(node.output)) == (["x"], ["p"])
    assert (attributes["embed_mode"], attributes["ep_cache_context"]) == (0, b"1.7-sm86.engine")
    assert (attributes["source"], attributes["hardware_architecture"]) == (SOURCE.encode(), b"86")


def test_weights_that_are_listed_as_inputs_are_none(tmp_path: Path) -> None:
    inner = onnx_models.mlp()
    weights = [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in inner.graph.initializer]
    inner.graph.input.extend(weights)
    model = onnx.load_from_string(wrap_engine(saved(tmp_path, inner), "e", "8.9"))
    assert [value.name for value in model.graph.input] == ["x"]


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = saved(tmp_path, onnx_models.convolved())
    assert wrap_engine(graph, "e", "12.0") == wrap_engine(graph, "e", "12.0") != wrap_engine(graph, "e", "8.6")


@pytest.mark.parametrize(
    ("element", "expected"), [("FLOAT", "fp32"), ("FLOAT16", "fp16"), ("BFLOAT16", "bf16"), ("DOUBLE", "fp32")]
)
def test_the_precision_is_that_of_the_weights(tmp_path: Path, element: str, expected: str) -> None:
    kind = TensorProto.DataType.Value(element)
    model = onnx_models.mlp()
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, kind, array.shape, array.ravel()))
    assert precision_of(saved(tmp_path, model)) == expected


def test_quantised_activations_make_it_int8(tmp_path: Path) -> None:
    model = onnx_models.mlp()
    model.graph.node.append(helper.make_node("QuantizeLinear", ["x", "b1"], ["q"]))
    assert precision_of(saved(tmp_path, model)) == "int8"
