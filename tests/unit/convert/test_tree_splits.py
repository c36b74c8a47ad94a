from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import helper

from builder.model.golden import read_case
from builder.resources import worker_source


@pytest.fixture
def tree_splits(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(worker_source("onnx_output").parent))
    import tree_splits

    return tree_splits


def graph_of(*nodes: tuple[str, int, float]) -> onnx.GraphProto:
    """A tree of these nodes: mode, feature, threshold."""
    modes, features, values = zip(*nodes, strict=True)
    attributes = {"nodes_modes": modes, "nodes_featureids": features, "nodes_values": values}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    return helper.make_graph([node, helper.make_node("Relu", ["y"], ["z"])], "trees", [], [])


def test_values_lie_between_splits_and_beyond_them(tree_splits: ModuleType) -> None:
    graph = graph_of(
        ("BRANCH_LEQ", 0, 4000.0), ("BRANCH_LEQ", 0, 6000.0), ("BRANCH_LEQ", 0, 4000.0), ("BRANCH_LT", 2, 0.5),
        ("LEAF", 1, 0.0),
    )  # fmt: skip
    assert tree_splits.tree_inputs(graph) == {"x"}
    assert tree_splits.values_between(graph, "x") == {0: [2000.0, 5000.0, 8000.0], 2: [0.0, 1.0]}
    assert tree_splits.values_between(graph, "another") == {}


def test_codes_are_asked_as_they_are(tree_splits: ModuleType) -> None:
    graph = graph_of(("BRANCH_EQ", 1, 3.0), ("BRANCH_EQ", 1, 1.0), ("LEAF", 0, 0.0))
    assert tree_splits.values_between(graph, "x") == {1: [1.0, 3.0]}


def test_no_value_is_a_split(tree_splits: ModuleType) -> None:
    """Nothing of FP32 lies between two neighbours."""
    low = np.float32(1.0)
    graph = graph_of(("BRANCH_LT", 0, low), ("BRANCH_LT", 0, np.nextafter(low, np.float32(2))))
    values = tree_splits.values_between(graph, "x")[0]
    assert len(values) == 2 and values[0] < 1 < values[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_cases_are_the_same_each_time_and_hold_these_values(
    tree_splits: ModuleType, tmp_path: Path, dtype: type[np.generic]
) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        tree_splits.write_cases("features", 3, {0: [2000.0, 5000.0, 8000.0]}, tmp_path / place, dtype)
    names = sorted(path.name for path in (tmp_path / "a" / "cases").iterdir())
    assert names == ["batch-1.npz", "batch-2.npz", "batch-64.npz", "batch-7.npz"]
    same = [(tmp_path / place / "cases" / "batch-64.npz").read_bytes() for place in ("a", "b")]
    assert same[0] == same[1]
    rows = read_case(tmp_path / "a" / "cases" / "batch-64.npz").inputs["features"]
    assert (rows.shape, rows.dtype) == ((64, 3), np.dtype(dtype))
    assert set(rows[:, 0].tolist()) == {2000, 5000, 8000}
    assert np.abs(rows[:, 1:]).max() <= 1


def test_wide_matrices_get_few_rows_and_no_values_no_cases(tree_splits: ModuleType, tmp_path: Path) -> None:
    tree_splits.write_cases("features", 3, {}, tmp_path)
    assert not (tmp_path / "cases").exists()
    tree_splits.write_cases("features", 1 << 13, {0: [1.0]}, tmp_path)
    assert len(list((tmp_path / "cases").iterdir())) == 3
