"""XGBoost's own files (.json, .ubj) to ONNX by onnxmltools.

One input ``features`` [batch, features] of FP32; a classifier gives ``label`` INT64 and ``probabilities``, a regressor
``prediction`` [batch, 1]. A booster file is data, not code: loading it runs nothing.
"""

import json
from typing import Any

import numpy as np
import onnx_output
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from worker_io import Arrays, Failure, main

INPUT = "features"
TREE_OPSET = 15
"""The newest that onnxmltools 1.16 takes."""


def load(path: str) -> Any:
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as error:
        raise Failure("bad-model", str(error).splitlines()[0]) from error
    # onnxmltools reads column names as f0, f1 ... and nothing else; the order of the columns is what counts.
    booster.feature_names = booster.feature_types = None
    return booster


def objective(booster: Any) -> str:
    config = json.loads(booster.save_config())
    return str(config["learner"]["learner_train_param"]["objective"])


def convert(request: dict[str, Any]) -> dict[str, Any]:
    booster = load(request["model"])
    if not objective(booster).startswith(("binary:", "multi:", "reg:", "count:")):
        raise Failure("unsupported", f"the objective {objective(booster)} has no ONNX form in onnxmltools")
    try:
        model = convert_xgboost(
            booster, initial_types=[(INPUT, FloatTensorType([None, booster.num_features()]))], target_opset=TREE_OPSET
        )
    except (RuntimeError, NotImplementedError, KeyError, ValueError) as error:
        raise Failure("unsupported", error) from error
    outputs = [output.name for output in model.graph.output]
    names = dict(zip(outputs, ("label", "probabilities") if len(outputs) == 2 else ("prediction",), strict=True))
    onnx_output.batch_first(model.graph, names)
    onnx_output.write_model(model, request["output"], "mbuild-xgboost")
    return {"features": booster.num_features(), "objective": objective(booster)}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    booster = load(request["model"])
    scores = booster.inplace_predict(inputs[INPUT], predict_type=predict_type(booster), validate_features=False)
    return outputs_of(objective(booster), np.asarray(scores, np.float32))


def predict_type(booster: Any) -> str:
    """multi:softmax predicts the class alone; its margins have the probabilities."""
    return "margin" if objective(booster) == "multi:softmax" else "value"


def outputs_of(kind: str, scores: Any) -> Arrays:
    if kind == "multi:softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    if kind.startswith("binary:"):
        scores = np.stack([1 - scores, scores], axis=1)
    if kind.startswith(("binary:", "multi:")):
        return {"label": scores.argmax(axis=1).astype(np.int64), "probabilities": scores}
    return {"prediction": scores.reshape(-1, 1)}


if __name__ == "__main__":
    main(convert, answer, ("xgboost-cpu", "onnxmltools", "onnx"))
