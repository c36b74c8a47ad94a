"""When a quantised model still is the model, and which one is taken, from recorded figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builder.model.bounds import USUAL, Bounds, Quantize
from builder.model.golden import GoldenCase, Tolerance
from builder.model.manifest import Tolerances
from builder.model.quantize import Variant, choose, measure_errors, replay_tolerances


def cases(*outputs: object, name: str = "y", dtype: object = np.float32) -> tuple[GoldenCase, ...]:
    return tuple(
        GoldenCase(name=str(number), inputs={}, outputs={name: np.asarray(one, dtype)})
        for number, one in enumerate(outputs)
    )


def test_the_error_is_of_all_cases_together() -> None:
    """3-4-5: the difference has the norm 5, what was expected 10; a case of zeros alone does not count for itself."""
    expected, actual = cases([[10.0]], [[0.0]]), cases([[13.0]], [[4.0]])
    (found,) = measure_errors(expected, actual)
    assert found.error == pytest.approx(0.5)
    assert found.max_absolute == 4


def test_the_agreement_of_rows_is_weighed_by_their_number() -> None:
    expected = cases([[1, 0]], [[1, 0], [1, 0], [1, 0]])
    actual = cases([[0, 1]], [[1, 0], [1, 0], [1, 0]])
    (found,) = measure_errors(expected, actual)
    assert found.agreement == 0.75
    assert "agreement" not in found.problem(Bounds(agreement=0.9), Bounds())
    assert found.problem(Bounds(agreement=0.9), Bounds(agreement=0.9)) == "agreement 0.75 (at least 0.9)"


def test_labels_must_agree_without_being_asked_to() -> None:
    (found,) = measure_errors(cases([1, 2, 3, 4], dtype=np.int64), cases([1, 2, 3, 5], dtype=np.int64))
    assert (found.agreement, found.error, found.is_float) == (0.75, 0.0, False)
    assert "agreement 0.75" in found.problem(USUAL[Quantize.INT8_DYNAMIC], Bounds())
    texts = measure_errors(cases([b"a", b"b"], dtype="S1"), cases([b"a", b"c"], dtype="S1"))
    assert texts[0].agreement == 0.5


@pytest.mark.parametrize(
    ("expected", "actual", "error"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.inf], [1.0, np.inf], 0.0),
        ([1.0, np.inf], [1.0, 7.0], math.inf),
        ([1.0, 2.0], [1.0, np.nan], math.inf),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [0.0, 1.0], math.inf),
    ],
)
def test_what_is_not_finite_must_be_the_same(expected: object, actual: object, error: float) -> None:
    (found,) = measure_errors(cases(expected), cases(actual))
    assert found.error == error
    assert bool(found.problem(USUAL[Quantize.INT4], Bounds())) == (error > 0)


def test_another_shape_is_a_mismatch_in_words() -> None:
    (found,) = measure_errors(cases([[1.0]]), cases([1.0]))
    assert found.problem(Bounds(), Bounds()) == "its shape is [1] instead of [1, 1]"


def test_findings_must_agree_and_their_scores_need_not() -> None:
    expected = cases([b'[{"label": "city", "start": 3, "score": 0.91}]'], dtype=object)
    near, far = (cases([text], dtype=object) for text in (expected_with(b"0.84", b"3"), expected_with(b"0.91", b"4")))
    assert measure_errors(expected, near)[0].agreement == 1
    assert measure_errors(expected, far)[0].agreement == 0
    assert replay_tolerances(Quantize.INT8_DYNAMIC, expected, Tolerances()).of("y").absolute == 2**-3


def expected_with(score: bytes, start: bytes) -> bytes:
    return b'[{"label": "city", "start": ' + start + b', "score": ' + score + b"}]"


def test_bounds_of_the_user_stand_before_the_usual_ones() -> None:
    bounds = Bounds(error=0.01, cosine=0.999).over(USUAL[Quantize.INT8_STATIC])
    assert (bounds.error, bounds.cosine, bounds.agreement, bounds.absolute) == (0.01, 0.999, 0.9, None)
    (found,) = measure_errors(cases([[3.0, 4.0]]), cases([[3.0, 4.5]]))
    assert found.problem(bounds, bounds) == "error 0.1 (at most 0.01), cosine 0.9985 (at least 0.999)"


def variant(name: str, seconds: float | None, size: int = 10, problem: str = "") -> Variant:
    return Variant(name=name, seconds=seconds, size=size, problem=problem)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([variant("fp16", 1.1), variant("int8-dynamic", 0.4), variant("int4", 0.6)], "int8-dynamic"),
        ([variant("int8-dynamic", 0.4, problem="error 2"), variant("int4", 0.6)], "int4"),
        ([variant("fp16", 0.95), variant("int4", 0.92)], "fp32"),  # within the noise of a machine
        ([variant("fp16", 0.5, size=20), variant("int4", 0.5, size=10)], "int4"),
        ([variant("int4", None)], "fp32"),
        ([], "fp32"),
    ],
)
def test_the_fastest_that_holds_is_taken(others: list[Variant], chosen: str) -> None:
    assert choose([variant("fp32", 1.0), *others]) == chosen
    assert choose([variant("fp32", 1.0), *reversed(others)]) == chosen


def test_an_image_must_give_again_what_another_processor_may_round_otherwise() -> None:
    given = cases([[3.0, -5.0]], [[np.inf, 1.0]])
    found = replay_tolerances(Quantize.INT8_DYNAMIC, given, Tolerances())
    assert found.of("y") == Tolerance(absolute=8 * 2**-3)
    nudged = cases([[3.0, np.nextafter(np.float32(-5), np.float32(-6))]], [[np.inf, 1.0]])
    assert replay_tolerances(Quantize.INT8_DYNAMIC, nudged, Tolerances()) == found
    wide = Tolerances(outputs=(("y", Tolerance(absolute=7.0)),))
    assert replay_tolerances(Quantize.INT4, given, wide).of("y").absolute == 7
    assert replay_tolerances(Quantize.FP16, cases([1], dtype=np.int64), Tolerances()) == Tolerances()


def test_a_table_line_is_json() -> None:
    line = Variant(name="int4", errors=measure_errors(cases([0.0]), cases([1.0])), problem="x")
    assert line.worst is not None
    assert line.to_json()["outputs"] == [
        {"name": "y", "error": "inf", "agreement": None, "cosine": None, "max_absolute": 1.0}
    ]
