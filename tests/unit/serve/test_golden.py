"""Of a model's golden cases the server takes the smallest: it only has to show that the model answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from builder.model.golden import GoldenCase, write_case
from builder.serve.models.model_folder import find_models


def case(name: str, rows: int) -> GoldenCase:
    return GoldenCase(name=name, inputs={"x": np.arange(rows, dtype=np.float32)}, outputs={})


def test_the_smallest_case_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(b"")
    (tmp_path / "m" / "golden").mkdir()
    (model,) = find_models(tmp_path)
    assert model.golden() is None
    for each in (case("a-batch", 5000), case("one", 1), case("several", 700)):
        (tmp_path / "m" / "golden" / f"{each.name}.npz").write_bytes(write_case(each))
    found = model.golden()
    assert found is not None and found.name == "one" and found.inputs["x"].tolist() == [0]
