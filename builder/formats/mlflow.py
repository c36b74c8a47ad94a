"""Model directories of MLflow: a file MLmodel that says what the flavour is, where its model lies and what it takes.

The model itself is one of another format here, found by that format's own evidence; MLmodel adds the versions, the
signature and the input example. Refused, by name: flavours that are Python code (python_function alone) or that have
no ONNX, and files that a flavour keeps in a form that mbuild does not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from builder.formats.known import PICKLE, SKOPS, TORCH_PICKLE, Sighting
from builder.formats.mlmodel import NAME, MlModel, MlmodelInvalid, parse_mlmodel
from builder.formats.wrapper import WrappedModelNotRead, below, lies_at
from builder.model.signature import Datatype, TensorSpec
from builder.model.source import Detection, ModelSource

_PYFUNC = "python_function"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flavour:
    """``places`` are the settings that name the model's file or directory; ``formats`` are what may lie there (empty:
    any but pickles); ``version`` the setting that names the version of ``package``; ``matrix`` is what the one
    input of a model is called that takes a matrix, empty where the model's own names stand."""

    places: tuple[str, ...] = ("data",)
    formats: frozenset[str] = frozenset()
    version: str = ""
    package: str = ""
    matrix: str = ""


_FLAVOURS: Mapping[str, _Flavour] = {
    "xgboost": _Flavour(formats=frozenset({"xgboost"}), version="xgb_version", package="xgboost"),
    "lightgbm": _Flavour(formats=frozenset({"lightgbm"}), version="lgb_version", package="lightgbm"),
    "catboost": _Flavour(formats=frozenset({"catboost"}), version="catboost_version", package="catboost"),
    "onnx": _Flavour(formats=frozenset({"onnx"}), version="onnx_version", package="onnx"),
    "pytorch": _Flavour(
        places=("model_data",),
        formats=frozenset({"torch-export", "torchscript", "torch-state"}),
        version="pytorch_version",
        package="torch",
        matrix="input",
    ),
    "keras": _Flavour(version="keras_version", package="keras"),
    "tensorflow": _Flavour(places=("data", "saved_model_dir"), version="keras_version", package="tensorflow"),
    "sentence_transformers": _Flavour(version="sentence_transformers_version", package="sentence-transformers"),
    "transformers": _Flavour(places=("model_binary",)),
    "paddle": _Flavour(
        places=("pickled_model",), formats=frozenset({"paddle"}), version="paddle_version", package="paddlepaddle"
    ),
    "sklearn": _Flavour(
        places=("pickled_model",),
        formats=frozenset({"sklearn"}),
        version="sklearn_version",
        package="scikit-learn",
        matrix="features",
    ),
}
"""In the order of preference where a model has several."""

_PYTHON = (
    "its predict is Python code, which has no ONNX. Log the model inside it with a flavour of its own "
    "(mlflow.sklearn, mlflow.pytorch, mlflow.onnx ...)"
)
_ADVICE = {
    "spark": "convert the pipeline where Spark is (onnxmltools.convert_sparkml) and log it with mlflow.onnx",
    "h2o": "H2O writes no ONNX: train it with XGBoost, LightGBM or scikit-learn, or serve its MOJO with Java",
    "statsmodels": "fit the same model with scikit-learn and log that; statsmodels has no ONNX",
    "prophet": "forecasts are computed by Stan, which has no ONNX",
    "langchain": "a chain is Python code that calls other services; there is no model in it to pack",
    "spacy": "spaCy writes no ONNX; a transformers model of the same task can be packed",
}


class MlflowWrapper:
    """See the module."""

    name = "mlflow"
    summary = "MLflow: the directory of a model, with its MLmodel"

    def wrap(
        self, source: ModelSource, models: tuple[Detection, ...], sightings: tuple[Sighting, ...]
    ) -> tuple[Detection, ...]:
        files = (file.path for file in source.files if file.path.name == NAME)
        return tuple(model for path in files for model in self._wrap(source, path, models, sightings))

    def _wrap(
        self, source: ModelSource, path: PurePosixPath, models: tuple[Detection, ...], sightings: tuple[Sighting, ...]
    ) -> Iterator[Detection]:
        described = parse_mlmodel(source.locate(path).read_bytes(), path)
        name = next((name for name in _FLAVOURS if name in described.flavours), "")
        if not name:
            raise _not_a_flavour(path, described)
        flavour, place = _FLAVOURS[name], _place(described, name, path)
        inside = tuple(model for model in models if _lies_at(model, place) and _takes(flavour, model))
        if not inside:
            raise _not_read(source, path, name, place, sightings)
        entries = {model.entry for model in inside}
        example = path.parent / described.example if described.example else None
        for model in inside:
            yield replace(
                model,
                evidence=(*model.evidence, f"{path}: an MLflow model of the flavour {name}"),
                versions=tuple({**dict(_versions(described, name)), **dict(model.versions)}.items()),
                covers=frozenset(below(source, path.parent)) - (entries - {model.entry}) | model.covers,
                wrapper=self.name,
                inputs=_inputs(described, flavour.matrix),
                outputs=described.outputs,
                example=example if example and source.find(example) else None,
            )


def _lies_at(model: Detection, place: PurePosixPath) -> bool:
    """Of a model of Paddle, the place is what the names of its two files begin with."""
    return lies_at(model.entry, place) or (model.format == "paddle" and model.entry.with_suffix("") == place)


def _takes(flavour: _Flavour, model: Detection) -> bool:
    return model.format in flavour.formats if flavour.formats else model.format != "sklearn"


def _place(described: MlModel, name: str, path: PurePosixPath) -> PurePosixPath:
    """The file or directory of the model, by the flavour's own setting or that of python_function."""
    settings: Mapping[str, Any] = {**described.flavours.get(_PYFUNC, {}), **described.flavours[name]}
    for key in _FLAVOURS[name].places:
        value = settings.get(key)
        if isinstance(value, str):
            return path.parent / value
        if value is not None:
            raise MlmodelInvalid(path=path, field=f"flavors.{name}.{key}", problem=f"it is {value!r}, not text")
    field = f"flavors.{name}.{_FLAVOURS[name].places[0]}"
    raise MlmodelInvalid(path=path, field=field, problem="it is missing, so that nothing says where the model lies")


def _versions(described: MlModel, name: str) -> tuple[tuple[str, str], ...]:
    """Without the local part, as in 2.13.0+cpu, which names a build."""
    text = str(described.flavours[name].get(_FLAVOURS[name].version) or "").partition("+")[0]
    return ((_FLAVOURS[name].package, text),) if text else ()


def _inputs(described: MlModel, matrix: str) -> tuple[TensorSpec, ...]:
    """The signature as tensors: columns are [batch, 1] each. Empty for a flavour whose models say what they take, and
    where a column has no tensor's type."""
    if not matrix:
        return ()
    if described.tensors:
        return tuple(replace(tensor, name=tensor.name or matrix) for tensor in described.tensors)
    found = [
        TensorSpec(name=name, datatype=datatype, shape=("batch", 1))
        for name, datatype in described.columns
        if name and datatype is not None
    ]
    if len(found) < len(described.columns):
        return ()
    return tuple(found) if matrix == "features" else _as_matrix(found, matrix)


def _as_matrix(columns: list[TensorSpec], name: str) -> tuple[TensorSpec, ...]:
    """What mlflow.pytorch makes of a table: one matrix of FP32."""
    if not columns or any(column.datatype is Datatype.BYTES for column in columns):
        return ()
    return (TensorSpec(name=name, datatype=Datatype.FP32, shape=("batch", len(columns))),)


def _not_a_flavour(path: PurePosixPath, described: MlModel) -> WrappedModelNotRead:
    names = [name for name in described.flavours if name != _PYFUNC]
    if not names:
        reason = (
            f"its only flavour is {_PYFUNC} ({described.flavours.get(_PYFUNC, {}).get('loader_module', 'no loader')})"
        )
        return WrappedModelNotRead(path=path, reason=reason, advice=_PYTHON)
    known = ", ".join(sorted(_FLAVOURS))
    advice = next((_ADVICE[name] for name in names if name in _ADVICE), "export it to ONNX and log that (mlflow.onnx)")
    reason = f"the flavour {', '.join(names)}; the flavours that are read are {known}"
    return WrappedModelNotRead(path=path, reason=reason, advice=advice)


def _not_read(
    source: ModelSource, path: PurePosixPath, name: str, place: PurePosixPath, sightings: tuple[Sighting, ...]
) -> WrappedModelNotRead:
    files = [file.path for file in source.files if lies_at(file.path, place)]
    seen = [sighting for sighting in sightings if lies_at(sighting.path, place)]
    if not files:
        reason, advice = (
            f"{place} is not in the directory",
            "copy the whole directory of the model, its MLmodel beside it",
        )
        return WrappedModelNotRead(path=path, reason=reason, advice=advice)
    looks = "; ".join(map(str, seen)) or f"{', '.join(map(str, files[:5]))} is of no format that mbuild knows"
    return WrappedModelNotRead(path=path, reason=f"the flavour {name}, but {looks}", advice=_again(name, seen))


def _again(name: str, seen: list[Sighting]) -> str:
    """How to log it so that it can be read."""
    kinds = {sighting.kind for sighting in seen}
    if name == "pytorch" and TORCH_PICKLE in kinds:
        return (
            "a pickled torch module runs code when it is loaded. Log it again with an input_example of two rows and "
            "serialization_format='pt2' (the default of MLflow 3.17), or log torch.jit.script(model)"
        )
    if name in ("lightgbm", "xgboost") and kinds & {PICKLE, SKOPS}:
        booster = "model.booster_" if name == "lightgbm" else "model.get_booster()"
        return f"log the booster instead of the estimator around it: mlflow.{name}.log_model({booster}, ...)"
    return f"log it in the form that mlflow.{name} writes by default, or export it to ONNX and log that (mlflow.onnx)"
