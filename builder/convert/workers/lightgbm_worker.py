"""LightGBM's text files to ONNX by onnxmltools.

One input ``features`` [batch, features] of FP32; a classifier gives ``label`` INT64 and ``probabilities``, a regressor
``prediction`` [batch, 1]. The text is data, not code: loading it runs nothing.
"""

import re
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx_output
import tree_splits
from onnxmltools.convert import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from worker_io import Arrays, Failure, main

INPUT = "features"
TREE_OPSET = 15
"""The newest that onnxmltools 1.16 takes."""


def load(path: str) -> Any:
    content = Path(path).read_bytes()
    if b"\nend of trees" not in content:  # LightGBM would read on into nothing, here and below
        raise Failure("bad-model", "it ends before its last tree")
    if b"\nparameters:" in content and b"\nend of parameters" not in content:
        raise Failure("bad-model", "it ends amid its parameters")
    try:
        return lightgbm.Booster(model_file=path)
    except (lightgbm.basic.LightGBMError, ValueError) as error:
        raise Failure("bad-model", error) from error


def require_exportable(path: str) -> None:
    """Refuse what onnxmltools 1.16 writes wrong without a word, by the lines of the file that say it."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    head = text.partition("\nTree=")[0].splitlines()
    objective = next((line.partition("=")[2].split() for line in head if line.startswith("objective=")), [])
    if "average_output" in head:
        raise Failure(
            "unsupported", "onnxmltools adds up the trees of a random forest (boosting: rf) that it must average"
        )
    if re.search(r"^is_linear=1$", text, re.MULTILINE):
        raise Failure("unsupported", "onnxmltools leaves the linear models in the leaves out (linear_tree)")
    if "sqrt" in objective:
        raise Failure("unsupported", "onnxmltools does not square what reg_sqrt took the root of")
    if any(word.startswith("sigmoid:") and float(word[8:]) != 1 for word in objective):
        raise Failure("unsupported", f"onnxmltools takes sigmoid as 1, the model has {objective[-1]}")
    if objective[:1] == ["multiclassova"]:
        raise Failure("unsupported", "onnxmltools writes multiclassova as if it were multiclass (a softmax)")
    if any(zero_is_missing(line) for line in text.splitlines() if line.startswith("decision_type=")):
        raise Failure("unsupported", "onnxmltools does not take zero as missing (zero_as_missing)")


def zero_is_missing(line: str) -> bool:
    """Bits 2 and 3 of a decision type are its missing type: 0 none, 1 zero, 2 NaN (LightGBM, LightGBM/tree.h)."""
    return any((int(word) >> 2) & 3 == 1 for word in line.partition("=")[2].split())


def convert(request: dict[str, Any]) -> dict[str, Any]:
    booster = load(request["model"])
    require_exportable(request["model"])
    types = [(INPUT, FloatTensorType([None, booster.num_feature()]))]
    try:
        model = convert_lightgbm(booster, initial_types=types, zipmap=False, target_opset=TREE_OPSET)
    except (RuntimeError, NotImplementedError, KeyError, ValueError) as error:
        raise Failure("unsupported", error) from error
    outputs = [output.name for output in model.graph.output]
    names = dict(zip(outputs, ("label", "probabilities") if len(outputs) == 2 else ("prediction",), strict=True))
    onnx_output.batch_first(model.graph, names)
    values = tree_splits.values_between(model.graph, INPUT)
    tree_splits.write_cases(INPUT, booster.num_feature(), values, Path(request["output"]))
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
