"""LightGBM's text files to ONNX by onnxmltools.

One input ``features`` [batch, features] of FP32; a classifier gives ``label`` INT64 and ``probabilities``, a regressor
``prediction`` [batch, 1]. The text is data, not code: loading it runs nothing.
"""

from typing import Any

import lightgbm
import numpy as np
import onnx_output
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from worker_io import Arrays, Failure, main

INPUT = "features"
TREE_OPSET = 15
"""The newest that onnxmltools 1.16 takes."""


def load(path: str) -> Any:
    try:
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise Failure("bad-model", error) from error


def convert(request: dict[str, Any]) -> dict[str, Any]:
    booster = load(request["model"])
    types = [(INPUT, FloatTensorType([None, booster.num_feature()]))]
    try:
        model = convert_lightgbm(booster, initial_types=types, zipmap=False, target_opset=TREE_OPSET)
    except (RuntimeError, NotImplementedError, KeyError, ValueError) as error:
        raise Failure("unsupported", error) from error
    outputs = [output.name for output in model.graph.output]
    names = dict(zip(outputs, ("label", "probabilities") if len(outputs) == 2 else ("prediction",), strict=True))
    onnx_output.batch_first(model.graph, names)
    onnx_output.write_model(model, request["output"], "mbuild-lightgbm")
    return {"features": booster.num_feature(), "classes": booster._Booster__num_class}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    booster = load(request["model"])
    scores = booster.predict(inputs[INPUT], num_threads=1).astype(np.float32)
    if not is_classifier(booster):
        return {"prediction": scores.reshape(-1, 1)}
    if scores.ndim == 1:
        scores = np.stack([1 - scores, scores], axis=1)
    return {"label": scores.argmax(axis=1).astype(np.int64), "probabilities": scores}


def is_classifier(booster: Any) -> bool:
    objective = str(booster.dump_model().get("objective", ""))
    return objective.startswith(("binary", "multiclass"))


if __name__ == "__main__":
    main(convert, answer, ("lightgbm", "onnxmltools", "onnx"))
