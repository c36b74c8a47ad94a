"""The server judges an output as the gate did that let the image be built."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from builder.model.golden import Tolerance
from builder.model.parity import compare as gate
from builder.serve.models.comparison import Difference, compare

F32 = np.float32


def text(*items: str | bytes) -> Any:
    found = np.empty(len(items), object)
    found[:] = items
    return found


PAIRS = [
    pytest.param("FP32", np.array([1, 2], F32), np.array([1, 2], F32), True, id="equal"),
    pytest.param("FP32", np.array([100, 2], F32), np.array([100.5, 2], F32), True, id="relative"),
    pytest.param("FP32", np.array([1, 2], F32), np.array([1, 2.5], F32), False, id="too-far"),
    pytest.param("FP32", np.array([math.nan, math.inf], F32), np.array([math.nan, math.inf], F32), True, id="nan"),
    pytest.param("FP32", np.array([1.0], F32), np.array([math.nan], F32), False, id="nan-now"),
    pytest.param("FP32", np.array([math.inf], F32), np.array([-math.inf], F32), False, id="other-infinity"),
    pytest.param("FP16", np.array([1], np.float16), np.array([1.005], np.float16), True, id="half"),
    pytest.param("FP32", np.zeros((0, 3), F32), np.zeros((0, 3), F32), True, id="nothing"),
    pytest.param("FP32", np.float32(1).reshape(()), np.float32(3).reshape(()), False, id="scalar"),
    pytest.param("INT64", np.array([2**62, -1]), np.array([2**62, -1]), True, id="whole"),
    pytest.param("INT64", np.array([2**62, -(2**63)]), np.array([2**62, 2**63 - 1]), False, id="whole-far"),
    pytest.param("INT64", np.array([100_000]), np.array([100_001]), False, id="whole-near"),
    pytest.param("BOOL", np.array([True, False]), np.array([True, True]), False, id="bool"),
    pytest.param("BYTES", text("a", "é"), text("a", "é"), True, id="text"),
    pytest.param("BYTES", text("a"), text("b"), False, id="other-text"),
    pytest.param("BYTES", text(b"\xff"), text(b"\xff"), True, id="bytes"),
    pytest.param("BYTES", text('[{"s": 0.5}]'), text('[{"s": 0.501}]'), True, id="json"),
    pytest.param("BYTES", text('[{"s": 0.5}]'), text('[{"s": 0.6}]'), False, id="other-json"),
    pytest.param("FP32", np.zeros((2, 1), F32), np.zeros((1, 2), F32), False, id="shape"),
    pytest.param("FP32", np.zeros(2, F32), np.zeros(2, np.float64), False, id="datatype"),
]


def judged(datatype: str, expected: Any, actual: Any) -> Difference:
    return compare("y", datatype, expected, actual, (0.01, 0.01))


@pytest.mark.parametrize(("datatype", "expected", "actual", "right"), PAIRS)
def test_it_agrees_with_the_gate(datatype: str, expected: Any, actual: Any, right: bool) -> None:
    difference = judged(datatype, expected, actual)
    theirs = gate("y", expected, actual, Tolerance(absolute=0.01, relative=0.01))
    assert (not difference.problem) is theirs.passed is right
    if datatype != "BOOL":  # the gate sees no distance between true and false
        assert difference.absolute == pytest.approx(theirs.max_absolute)


def test_bf16_is_compared_by_what_its_bits_mean() -> None:
    bits = np.array([0x3F80, 0x4000], np.uint16)  # 1 and 2
    near, far = np.array([0x3F81, 0x4000], np.uint16), np.array([0x3F90, 0x4000], np.uint16)
    assert not judged("BF16", bits, near).problem
    assert judged("BF16", bits, far).absolute == 0.125


def test_a_problem_says_where_and_how_many() -> None:
    far = judged("FP32", np.array([[1, 2], [3, 4]], F32), np.array([[1, 2], [9, 5]], F32))
    assert far.problem == (
        "differs by more than absolute 0.01 and relative 0.01: at [1, 0] 9.0 instead of 3.0, "
        "2 elements out of tolerance"
    )
    assert (far.absolute, far.relative) == (6, 2)
    assert judged("BYTES", text("a"), text("b")).problem == "must be equal: at [0] b instead of a, 1 element differs"


def test_its_json_has_no_infinity() -> None:
    value = judged("BYTES", text("a"), text("b")).to_json()
    assert value["max_absolute"] == "inf" and value["allowed"] == {"absolute": 0.01, "relative": 0.01}
