"""Which operators an ONNX graph has, and which others onnxruntime's own optimizers may make of them.

The graph that lies on the disk is not the graph that runs: onnxruntime fuses nodes when it loads it, and two of its
fusions make an operator that needs more of a GPU's libraries than the nodes that it replaces (found by loading such
graphs with the CUDA provider of 1.26 and 1.28 and looking at what they became):

- bias_softmax_fusion.cc: a Softmax of an Add becomes com.microsoft:BiasSoftmax.
- attention_fusion.cc: MatMul, Softmax, MatMul between layer norms become com.microsoft:Attention.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builder.formats.onnx_tensors import nodes
from builder.model.operators import Operator, Operators

_BIAS_SOFTMAX = Operator("com.microsoft", "BiasSoftmax")
_ATTENTION = Operator("com.microsoft", "Attention")
_ADD, _SOFTMAX, _MATMUL = (Operator("", name) for name in ("Add", "Softmax", "MatMul"))
_STAYS = {"Gemm", "MatMul", "Conv", "Relu", "Tanh", "Sigmoid", "Where", "GlobalAveragePool", "LayerNormalization"}
"""Operators that no optimizer takes out: an Add before one of them is not before the Softmax behind it."""
_NORMS = {"LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization"}


def graph_operators(proto: Any) -> Operators:
    """The operators of a ModelProto. A call of one of its own functions counts as what is in the function."""
    own = {(function.domain, function.name) for function in proto.functions}
    graphs = (proto.graph, *proto.functions)
    found: dict[Operator, list[str]] = defaultdict(list)
    for graph in graphs:
        for node in nodes(graph):
            if (node.domain, node.op_type) not in own:
                found[_operator(node)].append(_name(node))
    return Operators(
        nodes={operator: tuple(names) for operator, names in found.items()},
        fused={operator: names for operator, names in _fused(graphs, found).items() if names},
        opsets=_opsets(proto),
    )


def _opsets(proto: Any) -> dict[str, int]:
    """Of the model; a function's own only where the model does not say."""
    imports = (each for one in (*proto.functions, proto) for each in one.opset_import)
    return {_domain(each.domain): each.version for each in imports}


def _fused(graphs: Iterable[Any], found: Mapping[Operator, list[str]]) -> dict[Operator, tuple[str, ...]]:
    if _SOFTMAX not in found:
        return {}
    fused = {}
    if _ADD in found:
        fused[_BIAS_SOFTMAX] = tuple(name for graph in graphs for name in _softmax_of_add(graph))
    if _MATMUL in found and any(operator.name in _NORMS for operator in found):
        fused[_ATTENTION] = tuple(found[_SOFTMAX])
    return fused


def _softmax_of_add(graph: Any) -> Iterator[str]:
    """The Softmax nodes that may follow an Add, once what lies between is optimized away."""
    for inner in _graphs(graph):
        made_by = {output: node.op_type for node in inner.node for output in node.output}
        for node in inner.node:
            if node.op_type == "Softmax" and made_by.get(node.input[0], "Relu") not in _STAYS:
                yield _name(node)


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _operator(node: Any) -> Operator:
    return Operator(_domain(node.domain), node.op_type)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _name(node: Any) -> str:
    return node.name or next(iter(node.output), "")
