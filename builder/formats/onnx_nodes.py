"""The nodes of an ONNX graph and its weights, for looking at what it computes on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from builder.model.departure import GraphNode
from builder.model.golden import Array

_NO_TENSORS = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceMap", "SplitToSequence"}
    | {"ZipMap", "DictVectorizer", "Optional", "OptionalGetElement", "ConcatFromSequence", "Loop", "If", "Scan"}
)
"""Operators whose outputs are, or may be, something else than a tensor."""


def graph_nodes(path: Path) -> tuple[GraphNode, ...]:
    """The nodes in topological order, as every graph has them (onnx, IR.md)."""
    return tuple(
        GraphNode(
            name=node.name,
            operator=node.op_type,
            inputs=tuple(name for name in node.input if name),
            outputs=tuple(name for name in node.output if name),
        )
        for node in _load(path).graph.node
    )


def float_weights(path: Path) -> dict[str, Array]:
    """The initializers that are floats and lie in the graph's own file."""
    return {
        tensor.name: np.asarray(numpy_helper.to_array(tensor))
        for tensor in _load(path).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.external_data
    }


def with_all_values(path: Path) -> bytes:
    """The model with every tensor between its inputs and outputs as an output, too; onnxruntime finds their types."""
    model = _load(path)
    given = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type not in _NO_TENSORS:
            names = [name for name in node.output if name and name not in given]
            given.update(names)
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bytes(model.SerializeToString(deterministic=True))


def _load(path: Path) -> Any:
    return onnx.load_model(path, load_external_data=False)
