from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.resources import worker_source


def model() -> onnx.ModelProto:
    weights = np.arange(600, dtype=np.float32).reshape(2, 300)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "any",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 300])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(("limit", "files"), [(1 << 20, ["model.onnx"]), (1 << 10, ["model.onnx", "model.onnx.data"])])
def test_large_weights_lie_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, files: list[str]
) -> None:
    monkeypatch.syspath_prepend(str(worker_source("onnx_output").parent))
    import onnx_output

    monkeypatch.setattr(onnx_output, "EXTERNAL_BYTES", limit)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        onnx_output.write_model(model(), str(tmp_path / name), "test")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == files
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)
    read = onnx.load(tmp_path / "a" / "model.onnx")
    np.testing.assert_array_equal(
        numpy_helper.to_array(read.graph.initializer[0]), np.arange(600).reshape(2, 300).astype(np.float32)
    )
