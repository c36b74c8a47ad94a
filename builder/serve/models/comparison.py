"""How far an output is from the golden one, by the rules of the gate that the image passed when it was built.

Floats pass where ``abs(actual - expected) <= absolute + relative * abs(expected)``; NaN equals NaN and an infinity
itself. Whole numbers, booleans and strings must be equal, but for the numbers in strings that are JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..protocol.tensors import Array

Allowed = tuple[float, float]
"""Absolute and relative."""

USUAL: Allowed = (1e-5, 1e-4)
"""Where mbuild.json does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of one output; ``absolute`` and ``relative`` are the largest of all elements, ``problem`` is empty where they are
    allowed."""

    output: str
    absolute: float
    relative: float
    allowed: Allowed
    problem: str

    def to_json(self) -> dict[str, Any]:
        """JSON has no infinity."""
        return {
            "name": self.output,
            "max_absolute": self.absolute if math.isfinite(self.absolute) else "inf",
            "max_relative": self.relative if math.isfinite(self.relative) else "inf",
            "allowed": {"absolute": self.allowed[0], "relative": self.allowed[1]},
            "problem": self.problem,
        }


def compare(output: str, datatype: str, expected: Array, actual: Array, allowed: Allowed) -> Difference:
    """``datatype`` is the output's, since BF16 only carries bits here."""
    absolute = relative = math.inf
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        problem = f"is {actual.dtype} {list(actual.shape)}, expected {expected.dtype} {list(expected.shape)}"
    elif datatype == "BYTES":
        absolute, relative, problem = _strings(expected, actual, allowed)
    elif datatype == "BF16":
        absolute, relative, problem = _floats(_widened(expected), _widened(actual), allowed)
    elif expected.dtype.kind == "f":
        absolute, relative, problem = _floats(expected.astype(np.float64), actual.astype(np.float64), allowed)
    else:
        absolute, relative, problem = _exactly(expected, actual)
    return Difference(output=output, absolute=absolute, relative=relative, allowed=allowed, problem=problem)


def _widened(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _floats(expected: Array, actual: Array, allowed: Allowed) -> tuple[float, float, str]:
    with np.errstate(all="ignore"):
        distance = np.abs(actual - expected)
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
        bound = np.where(np.isfinite(expected), allowed[0] + allowed[1] * np.abs(expected), 0.0)
        relative = np.where(same, 0.0, distance / np.abs(expected))
        relative = np.where(np.isnan(relative), np.inf, relative)
        wrong = distance > bound
    problem = ""
    if wrong.any():
        problem = (
            f"differs by more than absolute {allowed[0]:g} and relative {allowed[1]:g}: "
            f"{_worst(expected, actual, distance - bound)}, {_elements(int(wrong.sum()))} out of tolerance"
        )
    return float(distance.max(initial=0.0)), float(relative.max(initial=0.0)), problem


def _exactly(expected: Array, actual: Array) -> tuple[float, float, str]:
    pairs = zip(expected.ravel().tolist(), actual.ravel().tolist(), strict=True)
    wrong = [(one, other) for one, other in pairs if one != other]
    if not wrong:
        return 0.0, 0.0, ""
    # As Python's integers: the difference of two int64 may not fit into an int64.
    absolute = float(max(abs(one - other) for one, other in wrong))
    relative = max(abs(one - other) / abs(one) if one else math.inf for one, other in wrong)
    return absolute, relative, _unequal(expected, actual, expected != actual)


def _strings(expected: Array, actual: Array, allowed: Allowed) -> tuple[float, float, str]:
    wrong = np.zeros(expected.shape, np.bool_)
    for index in np.ndindex(expected.shape):
        wrong[index] = not _says_the_same(_bytes(expected[index]), _bytes(actual[index]), allowed)
    if not wrong.any():
        return 0.0, 0.0, ""
    return math.inf, math.inf, _unequal(expected, actual, wrong)


def _bytes(item: object) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def _says_the_same(expected: bytes, actual: bytes, allowed: Allowed) -> bool:
    """Equal, or both JSON lists or objects that are equal but for numbers within what is allowed."""
    if expected == actual:
        return True
    if not (expected[:1] in (b"[", b"{") and actual[:1] == expected[:1]):
        return False
    try:
        return _same_value(json.loads(expected), json.loads(actual), allowed)
    except (ValueError, RecursionError):
        return False


def _same_value(expected: object, actual: object, allowed: Allowed) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_same_value(v, actual[k], allowed) for k, v in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_same_value, expected, actual, [allowed] * len(actual)))
    if isinstance(expected, float) and isinstance(actual, float):
        return expected == actual or abs(actual - expected) <= allowed[0] + allowed[1] * abs(expected)
    return type(expected) is type(actual) and expected == actual


def _unequal(expected: Array, actual: Array, wrong: Array) -> str:
    number = int(wrong.sum())
    differ = "differs" if number == 1 else "differ"
    return f"must be equal: {_worst(expected, actual, wrong)}, {_elements(number)} {differ}"


def _worst(expected: Array, actual: Array, badness: Array) -> str:
    index = np.unravel_index(int(np.argmax(badness)), expected.shape)
    found, wanted = (str(side[index])[:60] for side in (actual, expected))
    return f"at [{', '.join(map(str, index))}] {found} instead of {wanted}"


def _elements(number: int) -> str:
    return "1 element" if number == 1 else f"{number} elements"
