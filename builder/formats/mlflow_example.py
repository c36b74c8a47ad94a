"""The input example that MLflow keeps beside a model (input_example.json), as a golden case.

Read are a table in pandas' orient ``split``, and arrays, alone or by name (MLflow, docs: Input Example). What does not
fit the model's inputs (a document, a sparse matrix, a column too few) is no case: it was an example for predict, which
may do more than the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from builder.model.golden import Array, GoldenCase
from builder.model.protocol import TensorProblem, as_bytes_array, dtype_of
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import Detection, ModelSource

MAX_BYTES = 64 << 20


def input_example(source: ModelSource, found: Detection, signature: Signature) -> tuple[GoldenCase, ...]:
    """The example as a case without outputs; none where there is none, or none that fits."""
    if found.example is None or source.locate(found.example).stat().st_size > MAX_BYTES:
        return ()
    try:
        value = json.loads(source.locate(found.example).read_bytes())
        arrays = _arrays(value, signature.inputs)
        inputs = {spec.name: _fitted(arrays[spec.name], spec) for spec in signature.inputs}
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
    return (GoldenCase(name="input-example", inputs=inputs, outputs={}, origin=str(found.example)),)


def _arrays(value: Any, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Array]:
    """Arrays of whatever type, by the model's names."""
    if isinstance(value, dict) and "data" in value and set(value) <= {"columns", "index", "data"}:
        return _table([str(name) for name in value.get("columns", ())], value["data"], inputs)
    if isinstance(value, dict) and set(value) == {"inputs"}:  # MLflow 1
        value = value["inputs"]
    if isinstance(value, dict):
        arrays = {name: np.array(items, dtype=np.object_) for name, items in value.items()}
        return arrays if len(inputs) > 1 or inputs[0].name in arrays else {inputs[0].name: _only(arrays)}
    return {inputs[0].name: np.array(value, dtype=np.object_)}


def _only(arrays: Mapping[str, Array]) -> Array:
    (array,) = arrays.values()
    return array


def _table(columns: list[str], rows: list[list[Any]], inputs: tuple[TensorSpec, ...]) -> Mapping[str, Array]:
    """A column for each input that has the name of one, or the whole table for the only input."""
    table = np.array(rows, dtype=np.object_)
    if all(spec.name in columns for spec in inputs):
        return {spec.name: table[:, [columns.index(spec.name)]] for spec in inputs}
    if len(inputs) > 1:
        raise KeyError("no columns of these names")
    return {inputs[0].name: table}


def _fitted(array: Array, spec: TensorSpec) -> Array:
    """With the datatype of the input. Raises ValueError where shape or values do not fit."""
    if len(array.shape) != len(spec.shape) or not array.size:
        raise ValueError("another rank")
    if any(isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, array.shape, strict=True)):
        raise ValueError("another shape")
    if spec.datatype is Datatype.BYTES:
        if not all(isinstance(item, str) for item in array.ravel()):
            raise ValueError("no text")
        return as_bytes_array(array)
    if any(isinstance(item, str) for item in array.ravel()):
        raise TensorProblem("text for a number")
    return array.astype(dtype_of(spec.datatype))
