"""XGBoost's own files (.json, .ubj) to ONNX by onnxmltools.

One input ``features`` [batch, features] of FP32; a classifier gives ``label`` INT64 and ``probabilities``, a regressor
``prediction`` [batch, 1]. A booster file is data, not code: loading it runs nothing.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_output
import tree_splits
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from worker_io import Arrays, Failure, main

INPUT = "features"
TREE_OPSET = 15
"""The newest that onnxmltools 1.16 takes."""

EXPORTABLE = (
    *("binary:logistic", "multi:softprob", "multi:softmax", "count:poisson", "rank:"),
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
    *("reg:gamma", "reg:tweedie"),
)
"""Objectives whose outputs were seen to agree. Not reg:logistic and binary:logitraw (a sigmoid is left out, or put in),
binary:hinge, survival:*."""

WRITTEN_AS = {"multi:softmax": "multi:softprob"} | dict.fromkeys(
    ("rank:pairwise", "rank:ndcg", "rank:map"), "reg:squarederror"
)


def load(path: str) -> Any:
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except xgboost.core.XGBoostError as error:
        raise Failure("bad-model", str(error).splitlines()[0]) from error
    # onnxmltools reads column names as f0, f1 ... and nothing else; the order of the columns is what counts.
    booster.feature_names = None
    best = booster.attr("best_iteration")
    if booster.attr("scikit_learn") and best is not None:
        booster = booster[: int(best) + 1]  # as XGBClassifier and XGBRegressor predict; a plain Booster uses all trees
    return booster


def objective(booster: Any) -> str:
    config = json.loads(booster.save_config())
    return str(config["learner"]["learner_train_param"]["objective"])


def require_exportable(booster: Any) -> None:
    """Refuse what onnxmltools 1.16 writes wrong or not at all; the rest is held against XGBoost's own answers."""
    config = json.loads(booster.save_config())["learner"]
    kind, name = objective(booster), config["gradient_booster"]["name"]
    trees = config["gradient_booster"].get("gbtree_model_param", {})
    if name != "gbtree":
        raise Failure("unsupported", f"the booster {name} has no ONNX form in onnxmltools, only gbtree has")
    if int(config["learner_model_param"].get("num_target", "1")) > 1:
        raise Failure("unsupported", "a model with several targets has no ONNX form in onnxmltools")
    if kind.startswith("multi:") and int(trees.get("num_parallel_tree", "1")) > 1:
        raise Failure("unsupported", "onnxmltools mixes up the classes of a random forest (num_parallel_tree > 1)")
    if "c" in (booster.feature_types or ()):
        raise Failure("unsupported", "categorical features have no ONNX form in onnxmltools; train on encoded columns")
    if not kind.startswith(EXPORTABLE):
        raise Failure("unsupported", f"the objective {kind} has no ONNX form in onnxmltools")


def convert(request: dict[str, Any]) -> dict[str, Any]:
    booster = load(request["model"])
    require_exportable(booster)
    kind = objective(booster)
    booster.feature_types = None
    if kind in WRITTEN_AS:  # the same trees; onnxmltools knows them by another name
        booster.set_param({"objective": WRITTEN_AS[kind]})
    types = [(INPUT, FloatTensorType([None, booster.num_features()]))]
    try:
        model = convert_xgboost(booster, initial_types=types, target_opset=TREE_OPSET)
    except (RuntimeError, NotImplementedError, KeyError, ValueError, xgboost.core.XGBoostError) as error:
        raise Failure("unsupported", str(error).splitlines()[0]) from error
    outputs = [output.name for output in model.graph.output]
    names = dict(zip(outputs, ("label", "probabilities") if len(outputs) == 2 else ("prediction",), strict=True))
    onnx_output.batch_first(model.graph, names)
    values = tree_splits.values_between(model.graph, INPUT)
    tree_splits.write_cases(INPUT, booster.num_features(), values, Path(request["output"]))
    onnx_output.write_model(model, request["output"], "mbuild-xgboost")
    return {"features": booster.num_features(), "objective": kind}


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
