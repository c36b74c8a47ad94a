"""Do two texts say the same as JSON? A text output may be a list of findings with scores, whose last digits differ from
one runtime to another just as those of tensors do."""

from __future__ import annotations

import json

from builder.model.golden import Tolerance


def says_the_same(expected: bytes, actual: bytes, tolerance: Tolerance) -> bool:
    """Whether both are JSON lists or objects that are equal but for numbers within ``tolerance``."""
    if expected == actual:
        return True
    if not (expected[:1] in (b"[", b"{") and actual[:1] == expected[:1]):
        return False
    try:
        return _equal(json.loads(expected), json.loads(actual), tolerance)
    except (ValueError, RecursionError):
        return False


def _equal(expected: object, actual: object, tolerance: Tolerance) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_equal(v, actual[k], tolerance) for k, v in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_equal, expected, actual, [tolerance] * len(actual)))
    if isinstance(expected, float) and isinstance(actual, float):
        return expected == actual or abs(actual - expected) <= tolerance.absolute + tolerance.relative * abs(expected)
    return type(expected) is type(actual) and expected == actual
