"""The passes after an export: what the graph computes and is called stays, the rest goes."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from builder.resources import worker_source

LIMITS = (26, 5, 13)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(worker_source("onnx_passes").parent))
    import onnx_passes

    yield onnx_passes


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def weight(name: str, *values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def model(opset: int = 18, ir_version: int = 9, **parts: object) -> onnx.ModelProto:
    """y = (x + w) * same, where ``same`` equals ``w``; and a node and a weight that nobody needs."""
    nodes = [
        helper.make_node("Add", ["x", "w"], ["s"], doc_string="/home/ada/net.py:7"),
        helper.make_node("Exp", ["dead"], ["unread"]),
        helper.make_node("Mul", ["s", "same"], ["y"]),
    ]
    weights = [weight("same", 1, 2), weight("dead", 3), weight("w", 1, 2)]
    graph = helper.make_graph(nodes, "any", [value("x", "batch", 2)], [value("y", "batch", 2)], weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.unused", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, **parts)


def run(made: onnx.ModelProto, x: object) -> object:
    return ReferenceEvaluator(made).run(None, {"x": np.asarray(x, np.float32)})[0]


def test_what_it_computes_stays_and_the_rest_goes(passes: ModuleType) -> None:
    before = run(model(), [[5, 6]])
    made = passes.optimize(model(), *LIMITS)
    np.testing.assert_array_equal(run(made, [[5, 6]]), before)
    assert [node.op_type for node in made.graph.node] == ["Add", "Mul"]
    assert [tensor.name for tensor in made.graph.initializer] == ["same"]
    assert [(known.domain, known.version) for known in made.opset_import] == [("", 18)]
    assert [known.name for known in made.graph.value_info] == ["s"]
    assert not made.graph.node[0].doc_string
    onnx.checker.check_model(made, full_check=True)


def test_the_order_of_weights_is_that_of_their_use(passes: ModuleType) -> None:
    one, other = model(), model()
    other.graph.initializer.reverse()
    made = [passes.optimize(which, *LIMITS) for which in (one, other)]
    assert len(made[0].graph.initializer) == len(made[1].graph.initializer) == 1
    for which in made:
        which.graph.node[1].input[1] = which.graph.node[0].input[1] = which.graph.initializer[0].name = "w"
    assert made[0].SerializeToString(deterministic=True) == made[1].SerializeToString(deterministic=True)


def test_it_is_done_once(passes: ModuleType) -> None:
    once = passes.optimize(model(), *LIMITS)
    again = onnx.ModelProto.FromString(once.SerializeToString())
    assert passes.optimize(again, *LIMITS) == once


def test_metadata_of_the_model_stays_sorted_and_that_of_nodes_goes(passes: ModuleType) -> None:
    given = model()
    helper.set_model_props(given, {"vocabulary": "abc", "author": "Ada"})
    helper.set_model_props(given.graph.node[0], {"pkg.torch.onnx.stack_trace": "/home/ada/net.py"})
    made = passes.optimize(given, *LIMITS)
    assert [(note.key, note.value) for note in made.metadata_props] == [("author", "Ada"), ("vocabulary", "abc")]
    assert b"/home/ada" not in made.SerializeToString()


def test_an_opset_that_is_too_new_is_lowered(passes: ModuleType) -> None:
    made = passes.optimize(model(opset=26, ir_version=13), 21, 5, 10)
    assert ({known.version for known in made.opset_import}, made.ir_version) == ({21}, 10)
    np.testing.assert_array_equal(run(made, [[5, 6]]), run(model(), [[5, 6]]))


@pytest.mark.parametrize(
    ("domain", "version", "words"),
    [("ai.onnx.ml", 6, "opset 6 of ai.onnx.ml cannot be lowered to 5"), ("", 26, "opset 26 cannot be lowered to 9")],
)
def test_what_cannot_be_lowered_is_said(passes: ModuleType, domain: str, version: int, words: str) -> None:
    given = model(opset=26)
    given.graph.node[0].op_type = "BitwiseAnd"  # since opset 18
    if domain:
        given.opset_import.append(helper.make_opsetid(domain, version))
    with pytest.raises(Exception, match=words) as caught:
        passes.optimize(given, 26 if domain else 9, 5, 13)
    assert getattr(caught.value, "kind", "") == "opset"


def test_a_weight_is_no_input(passes: ModuleType) -> None:
    """CatBoost writes IR 3, where every weight is an input, too."""
    given = model(ir_version=3)
    given.graph.input.append(value("w", 2))
    made = passes.optimize(given, *LIMITS)
    assert ([one.name for one in made.graph.input], made.ir_version) == (["x"], passes.LEAST_IR)


def test_what_a_branch_reads_is_kept(passes: ModuleType) -> None:
    """A graph inside a node takes names from around it."""
    then, other = (
        helper.make_graph([helper.make_node(kind, ["x", name], [f"{kind}_out"])], kind, [], [value(f"{kind}_out", 2)])
        for kind, name in (("Add", "w"), ("Mul", "twin"))
    )
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    inputs = [helper.make_tensor_value_info("c", TensorProto.BOOL, []), value("x", 2)]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", 2)], [weight("w", 1, 2), weight("twin", 1, 2)])
    given = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made = passes.optimize(given, *LIMITS)
    assert [tensor.name for tensor in made.graph.initializer] == ["w"]
    feed = {"c": np.array(False), "x": np.array([3, 4], np.float32)}
    np.testing.assert_array_equal(ReferenceEvaluator(made).run(None, feed)[0], [3, 8])


def test_functions_are_inlined(passes: ModuleType) -> None:
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    function = helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", [value("x", 2)], [value("y", 2)]
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    given = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9)
    made = passes.optimize(given, *LIMITS)
    assert ([node.op_type for node in made.graph.node], len(made.functions)) == (["Add"], 0)


def test_shapes_that_the_exporter_gave_stay(passes: ModuleType) -> None:
    given = model()
    given.graph.value_info.append(value("s", "own_name", 2))
    del given.graph.output[0].type.tensor_type.shape.dim[:]
    given.graph.output[0].type.tensor_type.ClearField("shape")
    made = passes.optimize(given, *LIMITS)
    assert made.graph.value_info[0].type.tensor_type.shape.dim[0].dim_param == "own_name"
    assert len(made.graph.output[0].type.tensor_type.shape.dim) == 2


def test_nodes_follow_what_they_read(passes: ModuleType) -> None:
    """What quantisers append stands at the end; what need not move stays in its order."""
    nodes = [
        helper.make_node("Add", ["late", "x"], ["y"]),
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["late"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 2)], [value("y", 2)])
    passes.sort_nodes(graph)
    assert [node.op_type for node in graph.node] == ["Exp", "Neg", "Add"]
    passes.sort_nodes(graph)
    assert [node.op_type for node in graph.node] == ["Exp", "Neg", "Add"]
