"""The arithmetic of quantisation that is ours, and what a mode refuses."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from builder.resources import worker_source


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(worker_source("quantize_worker").parent))
        import quantize_worker

        return quantize_worker


def unpacked(values: object, scales: object, columns: int, rows: int) -> object:
    """As onnxruntime's MatMulNBits reads it: the lower half first, zero point 8."""
    packed, scale = np.asarray(values), np.asarray(scales).reshape(columns, -1, 1)
    pairs = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1).astype(np.float32)
    return ((pairs - 8) * scale).reshape(columns, -1)[:, :rows]


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 96])
def test_four_bits_are_off_by_one_step_at_most(worker: ModuleType, rows: int) -> None:
    matrix = np.random.default_rng(rows).standard_normal((5, rows)).astype(np.float32)
    matrix[2] = 0
    values, scales = worker.pack_4bit(matrix)
    blocks = -(-rows // 32)
    assert (values.dtype, values.shape, scales.shape) == (np.uint8, (5, blocks, 16), (5 * blocks,))
    step = np.repeat(np.abs(scales).reshape(5, blocks), 32, axis=1)[:, :rows]
    assert (np.abs(np.asarray(unpacked(values, scales, 5, rows)) - matrix) <= step * 1.001).all()


@given(st.floats(-1e30, 1e30, allow_subnormal=False))
def test_a_range_grows_a_little_and_stands_on_the_grid(bound: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(worker_source("quantize_worker").parent))
        from quantize_worker import outwards

        found = outwards(bound)
        assert abs(bound) <= abs(found) <= abs(bound) * (1 + 2**-5)
        assert found * bound >= 0
        assert outwards(found) == found


def net(*nodes: onnx.NodeProto, **weights: object) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    return helper.make_graph(list(nodes), "g", [value], [value], tensors)


def test_weights_count_where_a_mode_reaches_them(worker: ModuleType) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["x", "k", "b"], ["c"]),
        helper.make_node("Gather", ["table", "i"], ["d"]),
    ]
    graph = net(*nodes, w=np.ones((4, 4)), k=np.ones((2, 1, 3, 3)), b=np.ones(8), table=np.ones((10, 2)))
    assert worker.weights_of(graph, ("MatMul",)) == 64
    assert worker.weights_of(graph, ("Conv", "Gather")) == 72 + 80
    assert sum(map(worker.weight_bytes, graph.initializer)) == 64 + 72 + 32 + 80


@pytest.mark.parametrize(
    ("mode", "reached", "total", "words"),
    [
        ("int8-dynamic", 10, 100, "hold 10 % of the weights .10 of 100 bytes.; the rest is in Conv"),
        ("fp16", 0, 0, "no weights in floating point"),
    ],
)
def test_what_a_mode_does_not_fit_is_explained(
    worker: ModuleType, mode: str, reached: int, total: int, words: str
) -> None:
    graph = net(helper.make_node("Conv", ["x", "k"], ["y"]))
    with pytest.raises(Exception, match=words) as caught:
        worker.require_share(mode, reached, total, graph)
    assert getattr(caught.value, "kind", "") == "not-applicable"
    worker.require_share(mode, 60, 100, graph)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gemm_keeps_its_bias_beside_four_bits(worker: ModuleType, transposed: bool) -> None:
    matrix = np.ones((3, 4) if transposed else (4, 3))
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="n", transB=int(transposed))
    graph = net(node, w=matrix, b=np.ones(3))
    weights = {tensor.name: tensor for tensor in graph.initializer}
    product, bias = worker.packed_gemm(node, weights, graph)
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in product.attribute}
    assert (product.op_type, found["K"], found["N"], bias.op_type) == ("MatMulNBits", 4, 3, "Add")
    assert (list(bias.input)[1], list(bias.output)) == ("b", ["y"])
    assert not worker.plain_gemm(helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5))
