from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from builder.formats.mlflow_example import input_example
from builder.model.golden import GoldenCase
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import Detection, list_model

AGE = TensorSpec(name="age", datatype=Datatype.FP64, shape=("batch", 1))
CITY = TensorSpec(name="city", datatype=Datatype.BYTES, shape=("batch", 1))
MATRIX = TensorSpec(name="features", datatype=Datatype.FP32, shape=("batch", 2))
TABLE = {"columns": ["city", "age"], "data": [["Rome", 3], ["Oslo", None]]}


def read(directory: Path, value: Any, *inputs: TensorSpec) -> tuple[GoldenCase, ...]:
    (directory / "e.json").write_text(value if isinstance(value, str) else json.dumps(value))
    found = Detection(format="sklearn", entry=PurePosixPath("m"), evidence=(), example=PurePosixPath("e.json"))
    return input_example(list_model(directory), found, Signature(inputs=inputs, outputs=()))


def test_a_table_by_the_names_of_its_columns(tmp_path: Path) -> None:
    (case,) = read(tmp_path, TABLE, AGE, CITY)
    assert case.inputs["age"].dtype == np.float64
    assert case.inputs["age"].tolist()[0] == [3.0]
    assert np.isnan(case.inputs["age"][1, 0])
    assert case.inputs["city"].tolist() == [[b"Rome"], [b"Oslo"]]
    assert (case.name, case.origin) == ("input-example", "e.json")


@pytest.mark.parametrize(
    "value",
    [
        {"data": [[1, 2], [3, 4]]},
        {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]},
        [[1, 2], [3, 4]],
        {"x": [[1, 2], [3, 4]]},
        {"features": [[1, 2], [3, 4]]},
        {"inputs": [[1, 2], [3, 4]]},
    ],
)
def test_one_matrix_however_it_is_written(tmp_path: Path, value: Any) -> None:
    (case,) = read(tmp_path, value, MATRIX)
    np.testing.assert_array_equal(case.inputs["features"], np.array([[1, 2], [3, 4]], np.float32))
    assert case.inputs["features"].dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "3",
        [[1, 2, 3]],
        [1, 2],
        [],
        [[1, "a"]],
        [[1, 2], [3]],
        {"messages": [{"role": "user"}]},
        {"a": [[1, 2]], "b": [[1, 2]]},
        {"indices": [0], "indptr": [0, 1], "data": [1.0], "shape": [1, 2]},
    ],
)
def test_what_does_not_fit_is_no_case(tmp_path: Path, value: Any) -> None:
    assert read(tmp_path, value, MATRIX) == ()


def test_columns_that_are_missing_or_are_no_text(tmp_path: Path) -> None:
    assert read(tmp_path, {"columns": ["age"], "data": [[1]]}, AGE, CITY) == ()
    assert read(tmp_path, {"columns": ["age", "city"], "data": [[1, 2]]}, AGE, CITY) == ()
