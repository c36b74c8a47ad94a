"""scikit-learn estimators and pipelines (joblib, pickle, skops) to ONNX by skl2onnx.

A table with names becomes one input [batch, 1] for each column, text or number; anything else one input ``features``
[batch, features], or ``text`` [batch, 1]. A classifier gives ``label`` and ``probabilities``, a regressor
``prediction``, a transformer ``transformed``. Loading a pickle runs what it names; the build has read its names before.
"""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import onnx_output
import pandas as pd
import sklearn_missing  # noqa: F401 - completes skl2onnx
import sklearn_model
import sklearn_samples
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from skl2onnx.sklapi import CastTransformer
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from worker_io import Arrays, Failure, main

OPSET = 21
_TYPES = {
    "FP32": FloatTensorType,
    "FP64": DoubleTensorType,
    "INT64": Int64TensorType,
    "BOOL": BooleanTensorType,
    "BYTES": StringTensorType,
}
_ONNX_TYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "INT8": onnx.TensorProto.INT8,
    "UINT8": onnx.TensorProto.UINT8,
    "INT16": onnx.TensorProto.INT16,
    "UINT16": onnx.TensorProto.UINT16,
    "INT32": onnx.TensorProto.INT32,
    "UINT32": onnx.TensorProto.UINT32,
    "INT64": onnx.TensorProto.INT64,
    "UINT64": onnx.TensorProto.UINT64,
    "FP16": onnx.TensorProto.FLOAT16,
    "FP32": onnx.TensorProto.FLOAT,
    "FP64": onnx.TensorProto.DOUBLE,
    "BYTES": onnx.TensorProto.STRING,
}
_WIDTHS = tuple(_ONNX_TYPES)
_WORDS = r"[\pL\pN_]{2,}"
"""scikit-learn's default token_pattern, runs of two and more word characters, as RE2 writes it."""


def load(path: str) -> Any:
    warnings.simplefilter("ignore")
    try:
        model = _load_skops(path) if zipfile.is_zipfile(path) else joblib.load(path)
    except ModuleNotFoundError as error:
        raise Failure("unsupported", f"it needs {error.name}, which is no part of scikit-learn") from error
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise Failure("bad-model", f"{type(error).__name__}: {error}") from error
    model = getattr(model, "best_estimator_", model)
    if not hasattr(model, "get_params"):
        raise Failure("unsupported", f"it holds a {type(model).__name__}, not an estimator")
    return model


def _load_skops(path: str) -> Any:
    import skops.io

    return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))


def convert(request: dict[str, Any]) -> dict[str, Any]:
    model = load(request["model"])
    given, declared = ([], request["inputs"]) if request["declared"] else (request["inputs"], [])
    inputs = types_of(model, given, {tensor["name"] for tensor in declared if tensor["datatype"] == "BYTES"})
    names = sklearn_model.output_names(model)
    proto = export(model, inputs)
    tidy(proto, names)
    declare(proto.graph, declared)
    sklearn_samples.write(model, proto.graph, Path(request["output"]))
    onnx_output.write_model(proto, request["output"], "mbuild-sklearn")
    return {"inputs": [name for name, _ in inputs]}


def types_of(model: Any, given: list[dict[str, Any]], texts: set[str]) -> list[tuple[str, Any]]:
    """The inputs as skl2onnx wants them: what model.yaml says, else what the model remembers of its table; ``texts``
    are columns that hold text in any case."""
    if given:
        unknown = [tensor["datatype"] for tensor in given if tensor["datatype"] not in _TYPES]
        if unknown:
            raise Failure("wrong-inputs", f"the datatype {unknown[0]}; columns are {', '.join(_TYPES)}")
        return [(tensor["name"], _TYPES[tensor["datatype"]]([None, *tensor["shape"][1:]])) for tensor in given]
    number = DoubleTensorType if sklearn_model.wants_double(model) else FloatTensorType
    columns = sklearn_model.columns_of(model)
    if columns is not None:
        texts = texts | {name for name, column in columns.items() if column.kind == sklearn_model.TEXT}
        return [(name, (StringTensorType if name in texts else number)([None, 1])) for name in columns]
    if sklearn_model.takes_text(model):
        return [("text", StringTensorType([None, 1]))]
    features = getattr(model, "n_features_in_", None)
    if features is None:
        raise Failure("unsupported", "it does not say how many features it takes; describe `inputs` in model.yaml")
    return [("features", number([None, int(features)]))]


def export(model: Any, inputs: list[tuple[str, Any]]) -> Any:
    for part in sklearn_model.parts(model):
        if type(part).__name__ == "VotingClassifier":
            part.flatten_transform = False  # all that skl2onnx converts, and nothing that predict looks at
    prepared = _with_cast(model) if any(isinstance(kind, DoubleTensorType) for _, kind in inputs) else model
    options: dict[Any, Any] = {id(prepared): {"zipmap": False}} if is_classifier(model) else {}
    for part in sklearn_model.parts(model):
        if getattr(part, "token_pattern", "") == r"(?u)\b\w\w+\b":
            options[id(part)] = {"tokenexp": _WORDS}
    versions = {"": OPSET, "ai.onnx.ml": 3}
    try:
        try:
            return to_onnx(prepared, initial_types=inputs, target_opset=versions, options=options)
        except NameError:  # a classifier without probabilities has no such option
            options.pop(id(prepared), None)
            return to_onnx(prepared, initial_types=inputs, target_opset=versions, options=options)
    except (MissingConverter, MissingShapeCalculator) as error:
        raise Failure("unsupported", str(error).splitlines()[0]) from error
    except Exception as error:  # skl2onnx raises whatever its converters ran into
        raise Failure("unsupported", f"{type(error).__name__}: {error}") from error


def _with_cast(model: Any) -> Any:
    """Trees compare in FP32, in scikit-learn too: the step before them hands over FP32."""
    if not isinstance(model, Pipeline) or not sklearn_model.is_tree(model):
        return model
    return Pipeline([*model.steps[:-1], ("mbuild-cast", CastTransformer(dtype=np.float32)), model.steps[-1]])


def tidy(proto: Any, names: tuple[str, ...]) -> None:
    graph = proto.graph
    for node in graph.node:
        if node.op_type == "StringNormalizer" and not any(attribute.name == "locale" for attribute in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("locale", "C"))  # slim images have no other
    del graph.output[len(names) :]
    for output in graph.output:
        kind = output.type.tensor_type
        if output is graph.output[0] and names[0] == "label" and len(kind.shape.dim) == 2:
            _append(graph, output.name, "Reshape", ["flat"])
            graph.initializer.append(onnx.helper.make_tensor("flat", onnx.TensorProto.INT64, [1], [-1]))
            del kind.shape.dim[1]
        if kind.elem_type == onnx.TensorProto.DOUBLE:
            _append(graph, output.name, "Cast", [], to=onnx.TensorProto.FLOAT)
            kind.elem_type = onnx.TensorProto.FLOAT
    onnx_output.batch_first(graph, {output.name: name for output, name in zip(graph.output, names, strict=True)})


def declare(graph: Any, declared: list[dict[str, Any]]) -> None:
    """Give inputs the datatypes of the directory's signature (MLflow); what the graph computes with stays, behind a
    Cast. A model of one matrix takes the widest of its columns' types."""
    wanted = {tensor["name"]: tensor["datatype"] for tensor in declared}
    if len(graph.input) == 1 and graph.input[0].name == "features" and wanted:
        wanted = {"features": max(wanted.values(), key=_WIDTHS.index)}
    for tensor in graph.input:
        kind = tensor.type.tensor_type
        public = _ONNX_TYPES.get(wanted.get(tensor.name, ""), kind.elem_type)
        if public != kind.elem_type and onnx.TensorProto.STRING not in (public, kind.elem_type):
            inner = f"{tensor.name}_as_computed"
            for node in graph.node:
                node.input[:] = [inner if name == tensor.name else name for name in node.input]
            graph.node.insert(0, onnx.helper.make_node("Cast", [tensor.name], [inner], name=inner, to=kind.elem_type))
            kind.elem_type = public


def _append(graph: Any, output: str, operator: str, more: list[str], **attributes: Any) -> None:
    """Let ``operator`` have the last word on an output of the graph."""
    inner = f"{output}_before_{operator}"
    for node in graph.node:
        node.output[:] = [inner if name == output else name for name in node.output]
        node.input[:] = [inner if name == output else name for name in node.input]
    graph.node.append(onnx.helper.make_node(operator, [inner, *more], [output], name=f"last_{operator}", **attributes))


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    model = load(request["model"])
    return sklearn_model.answers(model, table(model, inputs))


def table(model: Any, inputs: Arrays) -> Any:
    """The inputs as scikit-learn takes them: a data frame for named columns, else a matrix, or a list of texts."""
    columns = {name: _column(array) for name, array in inputs.items()}
    if sklearn_model.takes_text(model):
        return next(iter(columns.values())).ravel()
    if sklearn_model.columns_of(model) is not None:
        return pd.DataFrame({name: array.ravel() for name, array in columns.items()})
    return np.concatenate([array.reshape(len(array), -1) for array in columns.values()], axis=1)


def _column(array: Any) -> Any:
    if array.dtype.kind in "SO":
        return np.array([bytes(item).decode() for item in array.ravel()], dtype=object).reshape(array.shape)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def watch(request: dict[str, Any], inputs: Arrays) -> list[Any]:
    """Every array that a part of the model gives to the next."""
    seen: list[Any] = []
    model = load(request["model"])
    for part in sklearn_model.parts(model):
        for method in ("transform", "decision_function", "predict_proba", "predict"):
            if hasattr(part, method):
                setattr(part, method, _noting(getattr(part, method), seen))
    sklearn_model.answers(model, table(model, inputs))
    return seen


def _noting(method: Any, seen: list[Any]) -> Any:
    def noted(*given: Any, **named: Any) -> Any:
        result = method(*given, **named)
        if isinstance(result, np.ndarray):
            seen.append(result.copy())
        return result

    return noted


if __name__ == "__main__":
    main(convert, answer, ("scikit-learn", "skl2onnx", "onnx"), watch)
