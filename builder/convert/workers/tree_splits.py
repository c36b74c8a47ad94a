"""Golden cases that ask every part of trees: values between the splits, below the least and above the largest.

Never on a split itself, where a threshold in FP32 may fall to the other side than one in FP64. Stands beside the
workers and is imported by them; needs numpy and nothing of mbuild.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

_OPERATORS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_BATCHES = (1, 2, 7, 64)
_MOST_ELEMENTS = 1 << 18
_USUAL = (-1.0, -0.3, 0.0, 0.4, 1.0)

Values = Mapping[int, Sequence[float]]
"""By the number of a feature, values that tell its splits apart."""


def tree_inputs(graph: Any) -> set[str]:
    """The tensors that trees look at."""
    return {node.input[0] for node in graph.node if node.op_type in _OPERATORS}


def values_between(graph: Any, tensor: str) -> dict[int, list[float]]:
    """Of each feature of ``tensor`` that a tree splits; of one that is compared for equality, the codes."""
    splits: dict[int, set[float]] = {}
    codes: dict[int, set[float]] = {}
    for node in graph.node:
        if node.op_type in _OPERATORS and node.input[0] == tensor:
            for mode, feature, value in _nodes(node):
                if mode != b"LEAF":
                    (codes if mode == b"BRANCH_EQ" else splits).setdefault(feature, set()).add(value)
    found = {feature: _between(sorted(thresholds)) for feature, thresholds in splits.items()}
    return found | {feature: sorted(values) for feature, values in codes.items()}


def _nodes(node: Any) -> Iterator[tuple[bytes, int, float]]:
    """Mode, feature and threshold of each; trees of FP64 have their thresholds in a tensor, and are left out."""
    found = {attribute.name: attribute for attribute in node.attribute}
    if "nodes_values" in found:
        columns = (found["nodes_modes"].strings, found["nodes_featureids"].ints, found["nodes_values"].floats)
        yield from zip(*columns, strict=True)


def _between(thresholds: list[float]) -> list[float]:
    beyond = max(thresholds[-1] - thresholds[0], abs(thresholds[0]), 1.0) / 2
    values = [thresholds[0] - beyond, thresholds[-1] + beyond]
    for low, high in pairwise(thresholds):
        middle = float(np.float32((low + high) / 2))
        if float(np.float32(low)) < middle < float(np.float32(high)):
            values.append(middle)
    return sorted(float(np.float32(value)) for value in values)


def write_cases(name: str, features: int, values: Values, output: Path, dtype: Any = np.float32) -> None:
    """``cases/NAME.npz`` of batches of 1, 2, 7 and, where it is not too much, 64 rows. ``values`` empty: none."""
    if not values:
        return
    (output / "cases").mkdir(exist_ok=True)
    words = np.random.PCG64(0)  # whose raw words numpy guarantees (NEP 19)
    for size in _BATCHES:
        if size > 7 and size * features > _MOST_ELEMENTS:
            continue
        raw = words.random_raw((size, features))
        columns = [values.get(feature) or _USUAL for feature in range(features)]
        rows = [[column[int(word) % len(column)] for column, word in zip(columns, row, strict=True)] for row in raw]
        array = np.array(rows).reshape(size, features)
        array = np.rint(array) if np.dtype(dtype).kind in "iu" else array
        content = io.BytesIO()
        np.lib.format.write_array(content, array.astype(dtype), allow_pickle=False)
        with zipfile.ZipFile(output / "cases" / f"batch-{size}.npz", "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(f"input:{name}.npy"), content.getvalue())
