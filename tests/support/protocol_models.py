"""The models of the servers' conformance suite, in folders that both servers are packed from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from builder.model.golden import GoldenCase
from tests.support.onnx_models import DATATYPES, identity, mlp, model_of, place, slow, two_inputs

SIGNATURE = {
    "inputs": [{"name": "features", "datatype": "FP32", "shape": ["batch", 4]}],
    "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": ["batch", 3]}],
}
RENAMES = {"inputs": {"features": "x"}, "outputs": {"probabilities": "p"}}


def place_models(folder: Path) -> Path:
    """Those that both servers take."""
    features = np.array([[1, 2, 3, 4]], np.float32)
    case = GoldenCase(name="one", inputs={"features": features}, outputs={})
    place(folder, "mlp", mlp(), manifest={"signature": SIGNATURE, "renames": RENAMES}, cases=(case,))
    place(folder, "two", two_inputs())
    place(folder, "slow", slow(1200))
    place(folder, "line", identity("FP32", ("n",)))
    place(folder, "one_string", identity("BYTES", (1,)))
    for datatype in DATATYPES:
        if datatype != "BF16":
            place(folder, f"identity_{datatype}", identity(datatype))
    place(folder, "simple", simple())
    numerals = np.full((1, 16), b"7")
    sevens = GoldenCase(name="sevens", inputs={"INPUT0": numerals, "INPUT1": numerals}, outputs={})
    place(folder, "simple_string", simple_string(), cases=(sevens,))
    place(folder, "simple_identity", simple_identity())
    return folder


def place_what_triton_cannot_serve(folder: Path) -> Path:
    place(folder, "scalar", identity("INT64", ()))
    place(folder, "identity_BF16", identity("BF16"))
    return folder


_ROWS = ("batch", 16)


def simple() -> onnx.ModelProto:
    """The model of tritonclient's examples: sum and difference of two rows of 16 numbers."""
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    tensor = (TensorProto.INT32, _ROWS)
    return model_of(
        nodes,
        {"INPUT0": tensor, "INPUT1": tensor},
        {"OUTPUT0": tensor, "OUTPUT1": tensor},
    )


def simple_string() -> onnx.ModelProto:
    """The same with the numbers as text."""
    nodes = [
        helper.make_node("Cast", ["INPUT0"], ["a"], to=TensorProto.INT32),
        helper.make_node("Cast", ["INPUT1"], ["b"], to=TensorProto.INT32),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Cast", ["sum"], ["OUTPUT0"], to=TensorProto.STRING),
        helper.make_node("Cast", ["difference"], ["OUTPUT1"], to=TensorProto.STRING),
    ]
    tensor = (TensorProto.STRING, _ROWS)
    return model_of(
        nodes,
        {"INPUT0": tensor, "INPUT1": tensor},
        {"OUTPUT0": tensor, "OUTPUT1": tensor},
    )


def simple_identity() -> onnx.ModelProto:
    """Text as it is."""
    text = (TensorProto.STRING, ("batch", "n"))
    return model_of([helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])], {"INPUT0": text}, {"OUTPUT0": text})
