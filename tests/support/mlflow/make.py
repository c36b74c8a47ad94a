# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "mlflow==3.17.0", "catboost==1.2.10", "lightgbm==4.7.0", "numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.31.1",
#     "pandas==3.1.1", "protobuf==6.33.6", "scikit-learn==1.9.1", "skops==0.16.0", "torch==2.13.0",
#     "xgboost-cpu==3.2.0",
# ]
# ///
"""Writes the directories of this folder: models as MLflow 3.17 saves them, one for each way that a flavour has."""

import os
import shutil
from pathlib import Path
from typing import Any

os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///:memory:"

import catboost
import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import torch
import xgboost
from mlflow.models import infer_signature
from onnx import helper
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).resolve().parent
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(200, 4)).astype(np.float32)
NAMED = pd.DataFrame(ROWS, columns=list("abcd"))
SIDE = (ROWS[:, 0] > 0).astype(int)
PEOPLE = pd.DataFrame(
    {
        "age": RANDOM.normal(40, 10, 200).round(1),
        "city": RANDOM.choice(["Paris", "Rome"], 200),
        "visits": RANDOM.integers(0, 9, 200),
    }
)


def main() -> None:
    torch.manual_seed(0)
    save_sklearn()
    save_torch()
    save_trees()
    rows = helper.make_tensor_value_info("x", 1, ["batch", 4])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "relu", [rows], [helper.make_tensor_value_info("y", 1, ["batch", 4])]
    )
    relu = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(relu)
    signature = infer_signature({"x": ROWS}, {"y": ROWS})
    mlflow.onnx.save_model(relu, place("onnx"), signature=signature, input_example={"x": ROWS[:2]})


def save_sklearn() -> None:
    before = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age", "visits"]))
    pipeline = make_pipeline(before, LogisticRegression()).fit(PEOPLE, (PEOPLE.age > 40).astype(int))
    said = {"signature": infer_signature(PEOPLE, pipeline.predict(PEOPLE)), "input_example": PEOPLE[:3]}
    for form in ("skops", "pickle", "cloudpickle"):
        mlflow.sklearn.save_model(pipeline, place(f"sklearn-{form}"), serialization_format=form, **said)
    matrix = LogisticRegression().fit(ROWS, SIDE)
    said = {"signature": infer_signature(ROWS, matrix.predict(ROWS)), "input_example": ROWS[:2]}
    mlflow.sklearn.save_model(matrix, place("sklearn-matrix"), **said)


def save_torch() -> None:
    save = torch.export.save

    def without_paths(program: Any, *words: Any, **more: Any) -> None:
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # the paths of this machine
        save(program, *words, **more)

    torch.export.save = without_paths
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1)).eval()
    mlflow.pytorch.save_model(net, place("pytorch"), input_example=ROWS[:2])
    mlflow.pytorch.save_model(net, place("pytorch-pickle"), input_example=ROWS[:2], serialization_format="pickle")
    script = torch.jit.script(net)
    mlflow.pytorch.save_model(script, place("torchscript"), input_example=ROWS[:2], serialization_format="pickle")


def save_trees() -> None:
    rows = xgboost.DMatrix(NAMED, SIDE)
    booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic"}, rows, 2)
    said = {"signature": infer_signature(NAMED, booster.predict(rows)), "input_example": NAMED[:2]}
    mlflow.xgboost.save_model(booster, place("xgboost"), **said)
    mlflow.xgboost.save_model(booster, place("xgboost-xgb"), model_format="xgb")
    estimator = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1).fit(NAMED, SIDE)
    mlflow.lightgbm.save_model(estimator.booster_, place("lightgbm"), **said)
    mlflow.lightgbm.save_model(estimator, place("lightgbm-estimator"))
    trees = catboost.CatBoostClassifier(iterations=2, depth=2, verbose=False, allow_writing_files=False)
    mlflow.catboost.save_model(trees.fit(NAMED, SIDE), place("catboost"), **said)


def place(name: str) -> str:
    shutil.rmtree(HERE / name, ignore_errors=True)
    return str(HERE / name)


if __name__ == "__main__":
    main()
