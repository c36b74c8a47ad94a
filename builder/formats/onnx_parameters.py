"""How many parameters an ONNX model has, and in which datatypes: read from its graph, never from its weights.

Parameters are the elements of its initializers and constants that hold weights. Integers of 16 bits and more and
booleans are left out: shapes, indices and axes. Trees keep theirs in attributes, of which nobody counts parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from builder.formats.onnx_tensors import all_tensors, nodes
from builder.formats.onnx_wire import read_skeleton
from builder.model.parameters import Parameters

_WORDS = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3",
    TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3",
    TensorProto.FLOAT8E5M2: "float8_e5m2",
    TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "uint4",
}
"""The words of model-spec docs/config.md, "precision"; its list is open, and has no four bits."""

_NEGLIGIBLE = 0.01
"""Share of the parameters up to which a datatype says nothing of the model: scales, zero points, constants."""

_PACKED = "MatMulNBits"
"""onnxruntime's product with weights of few bits: several in each byte of its second input (ContribOperators.md)."""


def read_parameters(path: Path) -> Parameters:
    """Of the graph in that file."""
    model = onnx.ModelProto.FromString(read_skeleton(path).model)
    graphs = (model.graph, *model.functions)
    packed = {node.input[1]: node for graph in graphs for node in nodes(graph) if node.op_type == _PACKED}
    found: Counter[str] = Counter()
    for graph in graphs:
        for tensor in all_tensors(graph):
            word, count = _of_packed(packed[tensor.name]) if tensor.name in packed else _of(tensor)
            if word:
                found[word] += count
    count = sum(found.values())
    counted = sorted(
        (word for word in found if found[word] > count * _NEGLIGIBLE), key=lambda word: (-found[word], word)
    )
    return Parameters(count=count, precision=tuple(counted))


def _of(tensor: Any) -> tuple[str, int]:
    return _WORDS.get(tensor.data_type, ""), math.prod(tensor.dims)


def _of_packed(node: Any) -> tuple[str, int]:
    said = {attribute.name: attribute.i for attribute in node.attribute}
    return f"int{said.get('bits', 4)}", said.get("K", 0) * said.get("N", 0)
