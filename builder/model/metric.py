"""What a model is good for, as one number over labelled cases: ``metric`` of model.yaml.

A prediction is the element of an output that is no float, or the largest column of one that is (the first of equal
ones), except for mean-absolute-error, which compares the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builder.errors import SpecError
from builder.model.golden import Array
from builder.model.protocol import as_bytes_array

LABEL = "label"
"""The array of a labelled case that has what is true."""

USUAL_CASES = ("labelled/*.npz",)


class MetricNotComputed(SpecError):
    code = "metric-not-computed"
    message = "metric in model.yaml: {reason}"
    hint = (
        "a labelled case is labelled/NAME.npz with the model's inputs (input:TENSOR) and an array `label`, one for "
        "each row of the output that `metric: output` names"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSettings:
    """``cases`` are patterns of files; ``output`` is empty where the model has one output only."""

    name: str
    cases: tuple[str, ...] = USUAL_CASES
    output: str = ""


def evaluate(name: str, outputs: Sequence[Array], labels: Sequence[Array]) -> float:
    """The metric over all cases: the given output of each, and its labels. Raises MetricNotComputed."""
    if name == "mean-absolute-error":
        pairs = [(np.ravel(one).astype(np.float64), np.ravel(two)) for one, two in _same(outputs, labels)]
        return float(np.mean(np.concatenate([np.abs(one - two) for one, two in pairs])))
    predicted = np.concatenate([_classes(output) for output in outputs])
    true = np.concatenate([_labels(label) for label in labels])
    if predicted.shape != true.shape:
        raise MetricNotComputed(reason=f"the output has {predicted.size} predictions, and there are {true.size} labels")
    if name == "accuracy":
        return float(np.mean(predicted == true))
    return _f1(predicted, true)


def loss(name: str, before: float, after: float) -> float:
    """By how much it is worse: points of accuracy and F1, the share of a mean error."""
    if name == "mean-absolute-error":
        return (after - before) / before if before else after
    return before - after


def _f1(predicted: Array, true: Array) -> float:
    """The mean over the classes that occur (macro)."""
    scores = []
    for one in sorted(set(true.tolist()) | set(predicted.tolist())):
        right = int(np.sum((predicted == one) & (true == one)))
        scores.append(2 * right / (int(np.sum(predicted == one)) + int(np.sum(true == one))))
    return float(np.mean(scores))


def _classes(array: Array) -> Array:
    array = np.asarray(array)
    if array.dtype.kind in "SUO":
        return as_bytes_array(array).ravel()
    if array.dtype.kind != "f":
        return array.ravel()
    if array.ndim < 2 or array.shape[-1] < 2:
        raise MetricNotComputed(reason="the output is one number a row, from which no class can be chosen")
    return np.asarray(array.argmax(axis=-1)).ravel()


def _labels(array: Array) -> Array:
    array = np.ravel(array)
    return array.astype(np.int64) if array.dtype.kind == "f" else _classes(array)


def _same(outputs: Sequence[Array], labels: Sequence[Array]) -> Sequence[tuple[Array, Array]]:
    pairs = list(zip(outputs, labels, strict=True))
    for one, two in pairs:
        if np.size(one) != np.size(two):
            raise MetricNotComputed(
                reason=f"the output has {np.size(one)} numbers, and there are {np.size(two)} labels"
            )
    return pairs
