"""CatBoost's binary files (.cbm) to ONNX by CatBoost itself.

One input ``features`` [batch, features] of FP32; a classifier gives ``label`` INT64 and ``probabilities``, a regressor
``prediction`` [batch, 1]. The file is data, not code: loading it runs nothing.
"""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import onnx
import onnx_output
import tree_splits
from worker_io import Arrays, Failure, main

INPUT = "features"


def load(path: str) -> Any:
    try:
        return catboost.CatBoost().load_model(path, format="cbm")
    except catboost.CatBoostError as error:
        raise Failure("bad-model", error) from error


WRONG = ("MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy", "MultiRMSE", "MultiQuantile", "RMSEWithUncertainty")
"""Losses whose ONNX of CatBoost 1.2 is not valid, or has a softmax where sigmoids belong."""


def require_exportable(model: Any) -> None:
    """Refuse what CatBoost exports wrong without a word."""
    loss = str(model.get_all_params().get("loss_function", "")).partition(":")[0]
    if loss.startswith(WRONG):
        raise Failure("unsupported", f"CatBoost writes no right ONNX for the loss {loss}")
    classes = [item for item in model.classes_ if not isinstance(item, str)]
    if len(classes) == 2 and len(model.classes_) == 2 and list(classes) != [0, 1]:
        first, second = classes
        raise Failure(
            "unsupported", f"CatBoost writes 0 and 1 in place of the labels {first} and {second}; train with 0, 1"
        )


def convert(request: dict[str, Any]) -> dict[str, Any]:
    model, exported = load(request["model"]), Path(request["output"]) / "catboost.onnx"
    require_exportable(model)
    try:
        model.save_model(str(exported), format="onnx")
    except catboost.CatBoostError as error:
        raise Failure("unsupported", error) from error
    proto = onnx.load(exported)
    exported.unlink()
    names = without_zipmap(proto.graph)
    onnx_output.batch_first(proto.graph, names)
    # CatBoost imports ai.onnx.ml only, and an IR that has no notion of the graph's own opset.
    proto.opset_import.append(onnx.helper.make_opsetid("", 17))
    proto.ir_version = 8
    values = tree_splits.values_between(proto.graph, INPUT)
    tree_splits.write_cases(INPUT, len(model.feature_names_), values, Path(request["output"]))
    onnx_output.write_model(proto, request["output"], "mbuild-catboost")
    return {"features": len(model.feature_names_)}


def without_zipmap(graph: Any) -> dict[str, str]:
    """Take the ZipMap away (a sequence of maps is no tensor); the names that the outputs get."""
    zipmap = next((node for node in graph.node if node.op_type == "ZipMap"), None)
    if zipmap is None:
        name = graph.output[0].name  # declared as [N], and computed as [N, 1]
        graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 1]))
        return {name: "prediction"}
    label = next(output for output in graph.output if output.name != zipmap.output[0])
    classes = len(zipmap.attribute[0].ints or zipmap.attribute[0].strings)
    probabilities = onnx.helper.make_tensor_value_info(zipmap.input[0], onnx.TensorProto.FLOAT, [None, classes])
    del graph.output[:]
    graph.output.extend([label, probabilities])
    graph.node.remove(zipmap)
    return {label.name: "label", zipmap.input[0]: "probabilities"}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    model, features = load(request["model"]), inputs[INPUT]
    if not model._is_classification_objective(model.get_all_params().get("loss_function")):
        return {"prediction": np.asarray(model.predict(features, thread_count=1), np.float32).reshape(-1, 1)}
    probabilities = np.asarray(model.predict(features, prediction_type="Probability", thread_count=1), np.float32)
    label = np.asarray(model.predict(features, prediction_type="Class", thread_count=1)).ravel()
    return {"label": label.astype(np.int64) if label.dtype.kind in "iuf" else label, "probabilities": probabilities}


if __name__ == "__main__":
    main(convert, answer, ("catboost", "onnx"))
