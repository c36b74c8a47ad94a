"""Do two runs of a model agree? Pure comparison of arrays, for conversion, golden cases and the probe.

Floats pass where ``abs(actual - expected) <= absolute + relative * abs(expected)``; NaN equals NaN and an infinity
itself. Integers, booleans and bytes must be equal, but for the numbers in bytes that are JSON. A differing shape or
datatype fails without a look at the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from builder.errors import ParityError
from builder.model.golden import Array, GoldenCase, Tolerance
from builder.model.json_text import says_the_same
from builder.model.manifest import Tolerances
from builder.model.protocol import as_bytes_array, datatype_of


class GoldenMismatch(ParityError):
    code = "golden-mismatch"
    message = "{file}: output {tensor!r} is not what onnxruntime computes from the model: {difference}"
    hint = "either the golden case belongs to another version of the model, or tolerance in model.yaml is too tight"


class NotRepeatable(ParityError):
    code = "not-repeatable"
    message = "the model answers the same inputs differently each time: output {tensor!r}, {difference}"
    hint = "an image of it cannot be tested; take random operators out of the graph, or widen `tolerance` in model.yaml"


class OutputMissing(ParityError):
    code = "output-missing"
    message = "{file}: the model gave no output {tensor!r}"
    hint = "compare the golden case's output names with the model's"


class ConversionDiffers(ParityError):
    code = "conversion-differs"
    message = "the ONNX model does not compute what {framework} computes: case {case}, output {tensor!r}: {difference}"
    hint = "nothing was built; the exporter made another model. Harmless? Then set `tolerance` in model.yaml"


class ConversionDiffersAt(ConversionDiffers):
    code = "conversion-differs-at"
    message = "{complaint}\n{where}"
    hint = "{advice}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorComparison:
    """How far ``actual`` is from ``expected``.

    ``failing`` of ``elements`` are out of tolerance; ``max_absolute`` and ``max_relative`` are over all elements (inf
    where only one side is finite or equal); ``cosine`` and ``top1`` (the share of rows whose largest column is the
    same) are None where they say nothing; ``worst_index`` is the element furthest out, with its two values as text.
    """

    name: str
    elements: int
    failing: int
    max_absolute: float
    max_relative: float
    cosine: float | None = None
    top1: float | None = None
    worst_index: tuple[int, ...] = ()
    expected: str = ""
    actual: str = ""
    mismatch: str = ""

    @property
    def passed(self) -> bool:
        return not self.failing and not self.mismatch

    @property
    def closeness(self) -> str:
        """The agreement in figures."""
        parts = [f"max abs {self.max_absolute:.2g}", f"max rel {self.max_relative:.2g}"]
        parts += [] if self.cosine is None else [f"cosine {self.cosine:.8f}"]
        parts += [] if self.top1 is None else [f"top-1 {self.top1:.1%}"]
        return ", ".join(parts)

    @property
    def difference(self) -> str:
        """The disagreement in words."""
        if self.mismatch:
            return self.mismatch
        index = ", ".join(str(part) for part in self.worst_index)
        return (
            f"at [{index}] {self.actual} instead of {self.expected}; {self.failing} of {self.elements} elements "
            f"are out of tolerance, at most {self.max_absolute:.3g} off"
        )

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "passed": self.passed,
            "elements": self.elements,
            "failing": self.failing,
            "max_absolute": _finite(self.max_absolute),
            "max_relative": _finite(self.max_relative),
            "cosine": self.cosine,
            "top1": self.top1,
            "worst_index": list(self.worst_index),
            "expected": self.expected,
            "actual": self.actual,
            "mismatch": self.mismatch,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        facts = {name: fact for name, fact in value.items() if name != "passed"}
        largest = {name: float(facts[name]) for name in ("max_absolute", "max_relative")}
        return cls(**{**facts, **largest, "worst_index": tuple(facts["worst_index"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseReport:
    """The comparisons of one golden case; ``origin`` as in GoldenCase."""

    name: str
    tensors: tuple[TensorComparison, ...]
    origin: str = ""

    @property
    def passed(self) -> bool:
        return all(tensor.passed for tensor in self.tensors)

    @property
    def worst(self) -> TensorComparison | None:
        return max(self.tensors, key=_badness, default=None)

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "passed": self.passed, "tensors": [tensor.to_json() for tensor in self.tensors]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(name=value["name"], tensors=tuple(map(TensorComparison.from_json, value["tensors"])))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityReport:
    """All cases."""

    cases: tuple[CaseReport, ...]

    @property
    def passed(self) -> bool:
        return all(case.passed for case in self.cases)

    @property
    def worst(self) -> tuple[CaseReport, TensorComparison] | None:
        """The tensor that is furthest off, and its case; None where nothing was compared."""
        pairs = [(case, tensor) for case in self.cases for tensor in case.tensors]
        return max(pairs, key=lambda pair: _badness(pair[1]), default=None)

    def to_json(self) -> dict[str, object]:
        return {"passed": self.passed, "cases": [case.to_json() for case in self.cases]}


def compare(name: str, expected: Array, actual: Array, tolerance: Tolerance) -> TensorComparison:
    """Compare one output."""
    expected, actual = np.asarray(expected), np.asarray(actual)
    kinds = datatype_of(_plain(expected)), datatype_of(_plain(actual))
    if kinds[0] is not kinds[1]:
        texts = [str(kind or array.dtype) for kind, array in zip(kinds, (expected, actual), strict=True)]
        return _mismatch(name, expected, f"it is {texts[1]} instead of {texts[0]}")
    if expected.shape != actual.shape:
        return _mismatch(name, expected, f"its shape is {list(actual.shape)} instead of {list(expected.shape)}")
    if expected.dtype.kind == "f":
        return _compare_floats(name, expected, actual, tolerance)
    return _compare_exactly(name, _plain(expected), _plain(actual), tolerance)


def compare_case(expected: GoldenCase, actual: Mapping[str, Array], tolerances: Tolerances) -> CaseReport:
    """Compare the outputs that ``expected`` has with those of a run. Raises OutputMissing."""
    comparisons = []
    for name, array in expected.outputs.items():
        if name not in actual:
            raise OutputMissing(file=expected.origin or expected.name, tensor=name)
        comparisons.append(compare(name, array, actual[name], tolerances.of(name)))
    return CaseReport(name=expected.name, tensors=tuple(comparisons), origin=expected.origin)


def compare_cases(expected: Sequence[GoldenCase], actual: Sequence[GoldenCase], tolerances: Tolerances) -> ParityReport:
    """Compare cases with the same cases as another run answered them (matched by name)."""
    answers = {case.name: case.outputs for case in actual}
    return ParityReport(cases=tuple(compare_case(case, answers[case.name], tolerances) for case in expected))


def require_golden(report: ParityReport) -> None:
    """Raise GoldenMismatch for the worst tensor, where the outputs that the user gave are not those of the model."""
    worst = report.worst
    if worst and not worst[1].passed:
        case, tensor = worst
        raise GoldenMismatch(file=case.origin or case.name, tensor=tensor.name, difference=tensor.difference)


def require_equal(report: ParityReport, framework: str) -> None:
    """Raise ConversionDiffers for the worst tensor, where a converted model is not the model that it was made from."""
    worst = report.worst
    if worst and not worst[1].passed:
        case, tensor = worst
        raise ConversionDiffers(framework=framework, case=case.name, tensor=tensor.name, difference=tensor.difference)


def require_repeatable(report: ParityReport) -> None:
    """Raise NotRepeatable for the worst tensor of a report over two runs of the same cases."""
    worst = report.worst
    if worst and not worst[1].passed:
        raise NotRepeatable(tensor=worst[1].name, difference=worst[1].difference)


def _badness(tensor: TensorComparison) -> tuple[bool, bool, float]:
    return bool(tensor.mismatch), tensor.failing > 0, tensor.max_absolute


def _mismatch(name: str, expected: Array, text: str) -> TensorComparison:
    size = int(expected.size)
    return TensorComparison(
        name=name, elements=size, failing=size, max_absolute=math.inf, max_relative=math.inf, mismatch=text
    )


def _plain(array: Array) -> Array:
    return as_bytes_array(array).astype(np.object_) if array.dtype.kind in "SUO" else array


def _compare_exactly(name: str, expected: Array, actual: Array, tolerance: Tolerance) -> TensorComparison:
    """But for numbers in texts that are JSON, which are held against the tolerance."""
    wrong = np.asarray(expected != actual, dtype=np.bool_)
    if expected.dtype.kind == "O":
        for index in zip(*np.nonzero(wrong), strict=True):
            wrong[index] = not says_the_same(expected[index], actual[index], tolerance)
    distance = 0.0
    if wrong.any() and expected.dtype.kind in "iu":
        # As Python integers: the difference of two int64 may not fit into an int64.
        pairs = zip(expected[wrong].tolist(), actual[wrong].tolist(), strict=True)
        distance = float(max(abs(one - other) for one, other in pairs))
    elif wrong.any():
        distance = math.inf
    index = _index(wrong.astype(np.float64))
    return TensorComparison(
        name=name,
        elements=int(expected.size),
        failing=int(wrong.sum()),
        max_absolute=distance,
        max_relative=math.inf if wrong.any() else 0.0,
        worst_index=index,
        expected=_text(expected, index),
        actual=_text(actual, index),
    )


def _compare_floats(name: str, expected: Array, actual: Array, tolerance: Tolerance) -> TensorComparison:
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(all="ignore"):
        distance = np.abs(other - wide)
        same = (wide == other) | (np.isnan(wide) & np.isnan(other))
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
        allowed = np.where(np.isfinite(wide), tolerance.absolute + tolerance.relative * np.abs(wide), 0.0)
        relative = np.where(same, 0.0, distance / np.abs(wide))
        relative = np.where(np.isnan(relative), np.inf, relative)
        excess = distance - allowed
    index = _index(excess)
    return TensorComparison(
        name=name,
        elements=int(wide.size),
        failing=int((excess > 0).sum()),
        max_absolute=float(distance.max(initial=0.0)),
        max_relative=float(relative.max(initial=0.0)),
        cosine=_cosine(wide, other),
        top1=_top1(wide, other),
        worst_index=index,
        expected=_text(expected, index),
        actual=_text(actual, index),
    )


def _index(badness: Array) -> tuple[int, ...]:
    if badness.size == 0:
        return ()
    return tuple(int(part) for part in np.unravel_index(int(np.argmax(badness)), badness.shape))


def _text(array: Array, index: tuple[int, ...]) -> str:
    return str(array[index]) if array.size else ""


def _cosine(expected: Array, actual: Array) -> float | None:
    """Of the two tensors as vectors; None where one is zero or not finite."""
    one, other = expected.ravel(), actual.ravel()
    if not (np.isfinite(one).all() and np.isfinite(other).all()) or not one.any() or not other.any():
        return None
    # Scaled first, so that squares neither overflow nor vanish.
    one, other = one / np.abs(one).max(), other / np.abs(other).max()
    return float(np.clip(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)), -1.0, 1.0))


def _top1(expected: Array, actual: Array) -> float | None:
    if expected.ndim != 2 or expected.shape[1] < 2 or not expected.shape[0]:
        return None
    return float(np.mean(np.argmax(expected, axis=1) == np.argmax(actual, axis=1)))


def _finite(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else "inf"
