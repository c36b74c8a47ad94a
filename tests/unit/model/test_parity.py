from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from builder.model.golden import GoldenCase, Tolerance
from builder.model.manifest import Tolerances
from builder.model.parity import (
    GoldenMismatch,
    NotRepeatable,
    OutputMissing,
    TensorComparison,
    compare,
    compare_cases,
    require_golden,
    require_repeatable,
)
from tests.support.golden import Golden

TIGHT = Tolerance(absolute=0.1, relative=0.0)


def check(expected: Any, actual: Any, tolerance: Tolerance = TIGHT) -> TensorComparison:
    return compare("y", np.asarray(expected), np.asarray(actual), tolerance)


def test_figures_of_a_float_comparison() -> None:
    result = check([[1.0, 2.0], [4.0, 3.0]], [[1.0, 2.5], [4.0, 3.0]])
    assert not result.passed
    assert (result.elements, result.failing) == (4, 1)
    assert (result.max_absolute, result.max_relative) == (0.5, 0.25)
    assert result.worst_index == (0, 1)
    assert (result.expected, result.actual) == ("2.0", "2.5")
    assert result.top1 == 1.0
    assert result.cosine == pytest.approx(31 / (30**0.5 * 32.25**0.5))


def test_the_bound_itself_passes() -> None:
    tolerance = Tolerance(absolute=0.5, relative=0.25)
    assert check([4.0, -4.0], [5.5, -2.5], tolerance).passed
    assert not check([4.0], [5.500001], tolerance).passed


def test_the_worst_is_what_is_furthest_out_of_tolerance() -> None:
    result = check([1000.0, 1.0], [1005.0, 2.0], Tolerance(absolute=0.1, relative=0.01))
    assert result.worst_index == (1,)


def test_nan_and_infinities() -> None:
    nan, inf = float("nan"), float("inf")
    assert check([nan, inf, -inf], [nan, inf, -inf]).passed
    for expected, actual in ((nan, 1.0), (1.0, nan), (inf, -inf), (inf, 1e308), (1.0, inf), (nan, inf)):
        result = check([0.0, expected], [0.0, actual], Tolerance(absolute=1, relative=1))
        assert (result.passed, result.failing, result.worst_index) == (False, 1, (1,)), (expected, actual)
        json.dumps(result.to_json(), allow_nan=False)


def test_values_that_overflow_or_vanish_when_squared() -> None:
    assert check([1e300, 1e300], [1e300, 1e300]).cosine == pytest.approx(1.0)
    assert check([1e-300, 0.0], [1e-300, 0.0]).cosine == pytest.approx(1.0)
    assert check([0.0], [0.0]).cosine is None


def test_top1_counts_rows() -> None:
    assert check([[0, 1.0], [1, 0.0], [0, 1.0], [1, 0.0]], [[0, 1.0], [0, 1.0], [0, 1.0], [1, 0.0]]).top1 == 0.75
    assert check([[1.0], [2.0]], [[1.0], [2.0]]).top1 is None


def test_integers_booleans_and_bytes_are_exact() -> None:
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    result = check([1, high], [1, low])
    assert (result.failing, result.worst_index, result.max_absolute) == (1, (1,), float(high - low))
    assert not check([True, False], [True, True]).passed
    assert check(np.array([b"a", b""], dtype=object), np.array(["a", ""])).passed
    result = check(np.array([b"a", b"b"]), np.array([b"a", b"c"], dtype=object))
    assert (result.worst_index, result.expected, result.actual) == ((1,), "b'b'", "b'c'")


def test_shape_and_datatype_come_first() -> None:
    assert check([1.0], [[1.0]]).mismatch == "its shape is [1, 1] instead of [1]"
    assert check(np.float32([1]), np.float64([1])).mismatch == "it is FP64 instead of FP32"
    assert not check([1], [1.0]).passed


def test_scalars_and_nothing() -> None:
    assert check(1.0, 1.0).passed
    assert check(1.0, 2.0).worst_index == ()
    assert check(np.zeros((0, 3)), np.zeros((0, 3))).passed


def cases(name: str, value: float) -> tuple[GoldenCase, ...]:
    good = GoldenCase(name="good", inputs={}, outputs={"y": np.zeros(2)})
    return good, GoldenCase(name=name, inputs={}, outputs={"y": np.array([0.0, value])}, origin=f"golden/{name}.npz")


def test_reports_find_the_worst_case() -> None:
    report = compare_cases(cases("bad", 0), cases("bad", 2), Tolerances())
    assert not report.passed
    assert [case.passed for case in report.cases] == [True, False]
    assert report.worst is not None
    assert (report.worst[0].name, report.worst[1].name) == ("bad", "y")
    assert json.loads(json.dumps(report.to_json()))["cases"][1]["tensors"][0]["max_absolute"] == 2.0


def test_a_golden_output_that_is_not_the_models(golden: Golden) -> None:
    require_golden(compare_cases(cases("bad", 2), cases("bad", 2), Tolerances()))
    with pytest.raises(GoldenMismatch) as caught:
        require_golden(compare_cases(cases("bad", 0), cases("bad", 2), Tolerances()))
    assert caught.value.exit_code == 6
    golden("errors/wrong-golden-output.txt", f"{caught.value}\n{caught.value.advice}\n")


def test_a_tolerance_of_one_output() -> None:
    loose = Tolerances(outputs=(("y", Tolerance(absolute=5)),))
    assert compare_cases(cases("bad", 0), cases("bad", 2), loose).passed


def test_an_output_that_did_not_come() -> None:
    empty = tuple(GoldenCase(name=case.name, inputs={}, outputs={}) for case in cases("bad", 0))
    with pytest.raises(OutputMissing, match="gave no output 'y'"):
        compare_cases(cases("bad", 0), empty, Tolerances())


def test_a_model_that_answers_otherwise_each_time_is_named() -> None:
    once, again = (GoldenCase(name="a", inputs={}, outputs={"y": np.float32([value])}) for value in (1.0, 2.0))
    require_repeatable(compare_cases([once], [once], Tolerances()))
    with pytest.raises(NotRepeatable, match=r"output 'y', at \[0\] 2.0 instead of 1.0") as caught:
        require_repeatable(compare_cases([once], [again], Tolerances()))
    assert "tolerance" in caught.value.advice
