"""Texts that are JSON agree where their numbers do."""

from __future__ import annotations

import numpy as np
import pytest

from builder.model.golden import Tolerance
from builder.model.json_text import says_the_same
from builder.model.parity import compare

ONE = b'[{"text": "fox", "start": 4, "score": 0.98765432}]'


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (ONE, ONE, True),
        (ONE, b'[{"score": 0.98765431, "text": "fox", "start": 4}]', True),
        (ONE, b'[{"text": "fox", "start": 4, "score": 0.97}]', False),
        (ONE, b'[{"text": "fox", "start": 5, "score": 0.98765432}]', False),
        (ONE, b'[{"text": "dog", "start": 4, "score": 0.98765432}]', False),
        (ONE, b"[]", False),
        (ONE, ONE[:-1], False),
        (b'{"a": [1.0, null]}', b'{"a": [1.0000001, null]}', True),
        (b'{"a": 1}', b'{"b": 1}', False),
        (b"1.0000000", b"1.0000001", False),
        (b"fox", b"dog", False),
        (b"[" * 100_000, b"[" * 100_001, False),
    ],
)
def test_it_is_the_same_or_not(expected: bytes, actual: bytes, same: bool) -> None:
    assert says_the_same(expected, actual, Tolerance()) is same


def test_a_tensor_of_such_texts() -> None:
    near = ONE.replace(b"5432", b"5433")
    assert compare("entities", np.array([ONE, b"[]"]), np.array([near, b"[]"]), Tolerance()).passed
    far = compare("entities", np.array([ONE, b"[]"]), np.array([near, b"{}"]), Tolerance())
    assert (far.passed, far.failing, far.worst_index) == (False, 1, (1,))
