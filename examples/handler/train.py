"""Makes this example: `uv run train.py` (any machine, a second)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["scikit-learn==1.9.1", "numpy==2.4.6", "onnx==1.22.0"]
# ///

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent
rows, species = load_iris(return_X_y=True)
model = LogisticRegression(max_iter=1000).fit(rows, species)

weights = {"weights": model.coef_.T.astype(np.float32), "bias": model.intercept_.astype(np.float32)}
graph = helper.make_graph(
    [
        helper.make_node("Gemm", ["centimetres", "weights", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ],
    "iris",
    [helper.make_tensor_value_info("centimetres", TensorProto.FLOAT, ["batch", 4])],
    [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
    [numpy_helper.from_array(array, name) for name, array in weights.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), HERE / "model.onnx")

asked = [
    b"sepal length 5.1 cm, sepal width 3.5 cm, petal length 1.4 cm, petal width 0.2 cm",
    b"Petal lenght 60 mm; petal widht 25 mm; sepal length 6.3 cm; sepal width 1.3 in",
]
np.savez(HERE / "golden" / "flowers.npz", **{"input:flower": np.array(asked)})
np.savez(HERE / "golden" / "tensors.npz", **{"input:centimetres": rows[::50].astype(np.float32)})
