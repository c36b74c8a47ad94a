"""Task metrics over labelled cases."""

from __future__ import annotations

import numpy as np
import pytest

from builder.model.metric import MetricNotComputed, evaluate, loss

SCORES = [np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.3, 0.7]])]


def test_the_largest_column_is_the_prediction() -> None:
    assert evaluate("accuracy", SCORES, [np.array([0, 1]), np.array([0])]) == pytest.approx(2 / 3)
    assert evaluate("accuracy", SCORES, [np.array([[0.0], [1.0]]), np.array([1.0])]) == 1


def test_labels_may_be_text() -> None:
    assert evaluate("accuracy", [np.array([b"cat", b"dog"])], [np.array(["cat", "cow"])]) == 0.5


def test_f1_is_the_mean_over_classes() -> None:
    """Class 0: 2 right of 2 + 3; class 1: 1 right of 2 + 1 -> 2*2/5 and 2*1/3."""
    predicted, true = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert evaluate("f1", [predicted], [true]) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_the_mean_absolute_error_is_of_numbers() -> None:
    assert evaluate("mean-absolute-error", [np.array([[1.0], [3.0]])], [np.array([2.0, 1.0])]) == 1.5


@pytest.mark.parametrize(
    ("name", "outputs", "labels", "words"),
    [
        ("accuracy", [np.array([[0.5]])], [np.array([1])], "no class can be chosen"),
        ("accuracy", SCORES, [np.array([0]), np.array([0])], "3 predictions, and there are 2 labels"),
        ("mean-absolute-error", [np.array([1.0])], [np.array([1.0, 2.0])], "1 numbers, and there are 2 labels"),
    ],
)
def test_what_cannot_be_compared_is_said(name: str, outputs: list[object], labels: list[object], words: str) -> None:
    with pytest.raises(MetricNotComputed, match=words):
        evaluate(name, outputs, labels)  # type: ignore[arg-type]


def test_a_loss_is_in_points_or_a_share() -> None:
    assert loss("accuracy", 0.9, 0.88) == pytest.approx(0.02)
    assert loss("mean-absolute-error", 2.0, 2.1) == pytest.approx(0.05)
    assert loss("mean-absolute-error", 0.0, 0.1) == 0.1
