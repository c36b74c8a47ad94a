"""What a fitted scikit-learn model may be asked: values that it knows, for golden cases. Random words would all be
unknown categories, and random numbers would all fall on one side of its splits.

Stands beside sklearn_worker and is imported by it; needs scikit-learn and nothing of mbuild.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sklearn_model
import tree_splits


def write(model: Any, graph: Any, output: Path) -> None:
    """``samples.json`` and ``continuous.json`` of a table or a text, ``cases/*.npz`` of a matrix."""
    names = [tensor.name for tensor in graph.input]
    columns = _columns(model, graph)
    samples = {name: columns[name].values for name in names if name in columns and columns[name].values}
    if sklearn_model.takes_text(model) and len(names) == 1:
        samples = {names[0]: sklearn_model.sentences(sklearn_model.first_step(model))}
    continuous = sorted(name for name in samples if name in columns and columns[name].is_continuous)
    (output / "samples.json").write_text(json.dumps(samples, sort_keys=True), encoding="utf-8")
    (output / "continuous.json").write_text(json.dumps(continuous), encoding="utf-8")
    if not columns and len(names) == 1:
        _write_matrix(model, graph, output)


def _columns(model: Any, graph: Any) -> Mapping[str, sklearn_model.Column]:
    """Those of a table; of numbers that go into trees as they are, values between the splits."""
    columns, trees = sklearn_model.columns_of(model) or {}, tree_splits.tree_inputs(graph)
    values = tree_splits.values_between(graph, next(iter(trees))) if len(trees) == 1 else {}
    for name, place in sklearn_model.passed_columns(model).items() if columns else ():
        if place in values and not columns[name].values and columns[name].kind == sklearn_model.NUMBER:
            columns[name].values, columns[name].is_continuous = values[place], True
    return columns


def _write_matrix(model: Any, graph: Any, output: Path) -> None:
    """By what the first step was fitted to, or by the splits of trees that look at the matrix itself."""
    name, kind = graph.input[0].name, graph.input[0].type.tensor_type
    dims, dtype = kind.shape.dim, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    if len(dims) != 2 or dtype.kind not in "fiu":
        return
    features, first = dims[1].dim_value, sklearn_model.first_step(model)
    values = {place: found for place in range(features) if (found := sklearn_model.spread(first, place))}
    for seen in sorted(tree_splits.tree_inputs(graph)) if not values else ():
        if _is_cast_of(graph, seen, name):
            values |= tree_splits.values_between(graph, seen)
    tree_splits.write_cases(name, features, values, output, dtype)


def _is_cast_of(graph: Any, name: str, tensor: str) -> bool:
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Identity")}
    while name in casts:
        name = casts[name]
    return name == tensor
