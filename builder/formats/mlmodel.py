"""The file MLmodel that MLflow puts into the directory of a model: YAML, with a signature that is JSON in a string.

Read without MLflow, as versions 1 to 3 write it (MLflow, docs: MLflow Models, Storage Format). Refused: a file whose
fields are not what MLflow writes, each by its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from builder.errors import UnsupportedModel
from builder.model.protocol import datatype_of
from builder.model.signature import Datatype, Dim, TensorSpec
from builder.model.yaml_text import YamlProblem, parse_mapping

NAME = "MLmodel"
_COLUMNS = {
    "boolean": Datatype.BOOL,
    "integer": Datatype.INT32,
    "long": Datatype.INT64,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "string": Datatype.BYTES,
    "binary": Datatype.BYTES,
}
"""mlflow.types.DataType; datetime, array, object and map have no tensor."""


class MlmodelInvalid(UnsupportedModel):
    code = "mlmodel-invalid"
    message = "{path}: {field}: {problem}"
    hint = "MLflow writes this file: log the model again, or put the field right"


@dataclass(frozen=True, kw_only=True, slots=True)
class MlModel:
    """``flavours`` are settings by name; ``columns`` are pairs of a column's name and datatype (None where no tensor
    has it), ``tensors`` the inputs of a signature of tensors, ``outputs`` the names of a signature that names them all;
    ``example`` is the file with an input, relative to the directory of MLmodel."""

    flavours: Mapping[str, Mapping[str, Any]]
    columns: tuple[tuple[str, Datatype | None], ...] = ()
    tensors: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()
    example: PurePosixPath | None = None


def parse_mlmodel(content: bytes, path: PurePosixPath) -> MlModel:
    """``path`` is for messages. Raises MlmodelInvalid."""
    try:
        value = parse_mapping(content)
    except YamlProblem as error:
        raise MlmodelInvalid(path=path, field="YAML", problem=error) from error
    flavours = _field(value, "flavors", path, dict)
    for name in flavours:
        _field(flavours, name, path, dict, "flavors.")
    signature = _field(value, "signature", path, dict) if value.get("signature") else {}
    inputs, outputs = (_specs(signature, side, path) for side in ("inputs", "outputs"))
    example = value.get("saved_input_example_info") or {}
    return MlModel(
        flavours=flavours,
        columns=tuple((str(s.get("name", "")), _COLUMNS.get(str(s["type"]))) for s in inputs if not _is_tensor(s)),
        tensors=tuple(_tensor(spec, path) for spec in inputs if _is_tensor(spec)),
        outputs=_names(outputs),
        example=_example(example, path),
    )


def _field(value: Mapping[str, Any], name: str, path: PurePosixPath, kind: type, above: str = "") -> Any:
    if name not in value:
        raise MlmodelInvalid(path=path, field=above + name, problem="it is missing")
    if not isinstance(value[name], kind):
        words = "text" if kind is str else "a mapping"
        raise MlmodelInvalid(path=path, field=above + name, problem=f"it is {value[name]!r}, not {words}")
    return value[name]


def _specs(signature: Mapping[str, Any], side: str, path: PurePosixPath) -> list[dict[str, Any]]:
    """The specs of one side, a JSON list in a string (of MLflow 1.9 and newer)."""
    if not signature.get(side):
        return []
    field, text = f"signature.{side}", _field(signature, side, path, str, "signature.")
    try:
        specs = json.loads(text)
    except ValueError as error:
        raise MlmodelInvalid(path=path, field=field, problem=f"it is no JSON: {error}") from error
    if not isinstance(specs, list) or not all(isinstance(spec, dict) and "type" in spec for spec in specs):
        raise MlmodelInvalid(path=path, field=field, problem="it is not a list of objects with a type")
    return specs


def _is_tensor(spec: Mapping[str, Any]) -> bool:
    return bool(spec["type"] == "tensor")


def _tensor(spec: Mapping[str, Any], path: PurePosixPath) -> TensorSpec:
    """The first axis is called batch where it has no size, another one by its place."""
    name, inner = str(spec.get("name") or ""), spec.get("tensor-spec")
    try:
        if not isinstance(inner, dict):
            raise TypeError(f"tensor-spec is {inner!r}")
        dtype = np.dtype(inner["dtype"])
        datatype = Datatype.BYTES if dtype.kind in "OUS" else datatype_of(np.empty(0, dtype))
        if datatype is None:
            raise TypeError(f"no tensor has the dtype {inner['dtype']}")
        shape = tuple(_dim(int(size), axis, name) for axis, size in enumerate(inner["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise MlmodelInvalid(path=path, field="signature.inputs", problem=f"tensor {name!r}: {reason}") from error
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def _dim(size: int, axis: int, name: str) -> Dim:
    if size >= 0:
        return size
    return "batch" if axis == 0 else f"{name or 'input'}_{axis}"


def _names(specs: list[dict[str, Any]]) -> tuple[str, ...]:
    names = tuple(str(spec.get("name") or "") for spec in specs if _is_tensor(spec))
    return names if all(names) and len(set(names)) == len(specs) else ()


def _example(given: object, path: PurePosixPath) -> PurePosixPath | None:
    if not given:
        return None
    if not isinstance(given, dict):
        problem = f"it is {given!r}, not a mapping"
        raise MlmodelInvalid(path=path, field="saved_input_example_info", problem=problem)
    return PurePosixPath(_field(given, "artifact_path", path, str, "saved_input_example_info."))
