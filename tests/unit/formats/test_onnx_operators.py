from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from builder.formats.onnx_operators import graph_operators
from builder.model.operators import Operator, together
from tests.support import onnx_models
from tests.support.models import operator_model

BIAS_SOFTMAX, ATTENTION = Operator("com.microsoft", "BiasSoftmax"), Operator("com.microsoft", "Attention")


def graph_of(*nodes: Any) -> Any:
    number = (TensorProto.FLOAT, ("n", 4))
    weights = {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)}
    return onnx_models.model_of(list(nodes), {"x": number}, {"y": number}, weights)


def test_operators_with_the_names_of_their_nodes() -> None:
    found = graph_operators(onnx_models.mlp())
    assert {str(operator): names for operator, names in found.nodes.items()} == {
        "Gemm": ("a",),
        "Relu": ("h",),
        "MatMul": ("logits",),
        "Softmax": ("p",),
    }
    assert (found.fused, found.opsets) == ({}, {"": 17})


def test_branches_and_functions_count_and_the_call_of_a_function_does_not() -> None:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n", 4))
    branch = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["z"], name="inside")], "b", [], [value])
    choice = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    model = operator_model(choice, domains={"mine": 1})
    model.graph.node.append(helper.make_node("Twice", ["y"], ["t"], domain="mine"))
    body = [helper.make_node("Add", ["a", "a"], ["b"], name="sum", domain="ai.onnx")]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, opsets))
    found = graph_operators(model)
    assert found.nodes == {
        Operator("", "If"): ("choice",),
        Operator("", "Conv"): ("inside", "inside"),
        Operator("", "Add"): ("sum",),
    }
    assert (found.opsets[""], found.opsets["com.microsoft"]) == (17, 1)


def test_a_softmax_of_an_add_may_be_fused() -> None:
    model = graph_of(
        helper.make_node("Add", ["x", "b"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], name="weights"),
    )
    assert graph_operators(model).fused == {BIAS_SOFTMAX: ("weights",)}


def test_also_where_something_lies_between_that_may_be_taken_out() -> None:
    model = graph_of(
        helper.make_node("Add", ["x", "b"], ["s"]),
        helper.make_node("Identity", ["s"], ["t"]),
        helper.make_node("Softmax", ["t"], ["y"], name="weights"),
    )
    assert graph_operators(model).fused == {BIAS_SOFTMAX: ("weights",)}


def test_not_where_something_lies_between_that_stays() -> None:
    model = graph_of(
        helper.make_node("Add", ["x", "b"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["t"]),
        helper.make_node("Softmax", ["t"], ["y"]),
    )
    assert graph_operators(model).fused == {}


def test_softmax_between_layer_norms_may_become_attention() -> None:
    model = graph_of(
        helper.make_node("LayerNormalization", ["x", "b"], ["l"]),
        helper.make_node("MatMul", ["l", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], name="weights"),
    )
    assert graph_operators(model).fused == {ATTENTION: ("weights",)}


def test_several_graphs_together() -> None:
    one = graph_operators(onnx_models.mlp())
    assert together((one, one)).nodes[Operator("", "Gemm")] == ("a", "a")
    assert together(()).nodes == {}


def test_operators_are_written_as_they_are_read() -> None:
    for text in ("Conv", "com.microsoft:FusedConv", "ai.onnx.ml:TreeEnsemble"):
        assert str(Operator.parse(text)) == text
