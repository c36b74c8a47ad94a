"""The OpenAPI 3.1 document of what this server serves, made from the loaded signatures.

Each model's example body is a real request: a golden case where one is small enough, else zeros.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import VERSION

if TYPE_CHECKING:
    from ..models.plain import AnyModel
    from .tensors import Tensor

_LARGEST_EXAMPLE = 4096
"""Elements. More would make the document too heavy to read; the page then makes zeros itself."""

_LARGEST_FILE = 32_768
"""Bytes of an image file in an example."""

_ELEMENTS: dict[str, dict[str, Any]] = {
    "BOOL": {"type": "boolean"},
    "BYTES": {"type": "string"},
    "FP32": {"type": "number"},
    "FP64": {"type": "number"},
    "FP16": {"type": "number"},
    "BF16": {"type": "number"},
    **{
        f"{sign}INT{bits}": {
            "type": "integer",
            "minimum": 0 if sign else -(2 ** (bits - 1)),
            "maximum": 2 ** (bits if sign else bits - 1) - 1,
        }
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    },
}


_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a key travels (guard/keys.py)."""

_FILES = """ A text (text/plain) or an image file (image/png ...) may also be the whole body.
In JSON, an image is base64 with the parameter content_type "base64"."""


def document(models: list[AnyModel]) -> dict[str, Any]:
    from ..pages.about import about  # with what models need: not before they are loaded

    paths: dict[str, Any] = {
        "/v2": {"get": _plain("Server metadata", "server", "The server's name, version and extensions")},
        "/v2/health/live": {"get": _plain("Live", "live", "The process runs", body=False)},
        "/v2/health/ready": {"get": _ready("Ready", "ready", body=False)},
        "/metrics": {"get": _metrics()},
    }
    for number, model in enumerate(models):
        paths |= _model_paths(model, f"m{number}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": ", ".join(model.name for model in models) or "no model",
            "version": VERSION,
            "description": "\n\n".join(model.folder.description for model in models if model.folder.description),
        },
        "tags": [
            {"name": model.name, "description": model.folder.description, "x-model": about(model)} for model in models
        ],
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                }
            },
            "responses": {"Error": _response("What is wrong", {"$ref": "#/components/schemas/Error"})},
        },
    }


def with_keys(document: dict[str, Any], is_open: Callable[[str], bool]) -> dict[str, Any]:
    """The same of a server that wants an API key on every path but the open ones: which schemes it takes, and that 401
    is an answer."""
    paths = {
        path: methods
        if is_open(path)
        else {
            method: {
                **operation,
                "security": [{name: []} for name in _SCHEMES],
                "responses": {**operation["responses"], "401": {"$ref": "#/components/responses/Error"}},
            }
            for method, operation in methods.items()
        }
        for path, methods in document["paths"].items()
    }
    return {**document, "paths": paths, "components": {**document["components"], "securitySchemes": _SCHEMES}}


def _model_paths(model: AnyModel, prefix: str) -> dict[str, Any]:
    path, tag = f"/v2/models/{model.name}", model.name
    paths = {
        path: {"get": _plain(f"Metadata of {tag}", f"{prefix}-metadata", "Its tensors")},
        f"{path}/ready": {"get": _ready(f"Is {tag} ready", f"{prefix}-ready")},
        f"{path}/config": {"get": _plain(f"Configuration of {tag}", f"{prefix}-config", "As Triton describes it")},
        f"{path}/stats": {"get": _plain(f"Statistics of {tag}", f"{prefix}-stats", "Counts and durations")},
        f"{path}/infer": {"post": _infer(model, f"{prefix}-infer")},
    }
    for methods in paths.values():
        for operation in methods.values():
            operation["tags"] = [tag]
    return paths


def _infer(model: AnyModel, operation: str) -> dict[str, Any]:
    signature = model.signature
    content: dict[str, Any] = {"schema": _request(model)}
    example = example_request(model)
    if example is not None:
        content["example"] = example
    binary = {"schema": {"type": "string", "format": "binary"}}
    files = {kind: binary for kind in ("image/*", "text/plain") if signature.takes_files}
    described = ", ".join(f"{tensor.name} {tensor.datatype} {tensor.protocol_shape}" for tensor in signature.inputs)
    answer = _response("The outputs", _tensors("outputs", signature.outputs, ["model_name", "outputs"]))
    answer["content"]["application/octet-stream"] = binary
    return {
        "summary": f"Run {model.name}",
        "description": f"Inputs: {described}. Shapes with -1 are dynamic; data may be flat or nested as the shape. "
        "As application/octet-stream, tensors follow the JSON in binary (Inference-Header-Content-Length)."
        + _FILES
        * signature.takes_files,
        "operationId": operation,
        "requestBody": {
            "required": True,
            "content": {"application/json": content, "application/octet-stream": binary, **files},
        },
        "responses": {
            "200": answer,
            **{status: {"$ref": "#/components/responses/Error"} for status in ("400", "413", "415", "503")},
        },
    }


def _request(model: AnyModel) -> dict[str, Any]:
    schema = _tensors("inputs", model.signature.inputs, ["inputs"])
    names = [tensor.name for tensor in model.signature.outputs]
    schema["properties"]["id"] = {"type": "string"}
    schema["properties"]["parameters"] = {"type": "object"}
    schema["properties"]["outputs"] = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"enum": names}, "parameters": {"type": "object"}},
        },
    }
    return schema


def _tensors(field: str, tensors: tuple[Tensor, ...], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": {
            field: {
                "type": "array",
                "items": {"anyOf": [_tensor(tensor) for tensor in tensors]},
                "minItems": len(tensors) if field == "inputs" else 0,
            }
        },
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    dims = [
        {"const": dim} if isinstance(dim, int) else {"type": "integer", "minimum": 0, "title": dim or "dynamic"}
        for dim in tensor.shape
    ]
    rank = {"minItems": len(dims), "maxItems": len(dims)}
    return {
        "type": "object",
        "title": tensor.name,
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": {"type": "array", "prefixItems": dims, **rank} if dims else {"type": "array", "maxItems": 0},
            "data": {"type": "array", "items": {"anyOf": [_ELEMENTS[tensor.datatype], {"type": "array"}]}},
            "parameters": {"type": "object"},
        },
    }


def example_request(model: AnyModel) -> dict[str, Any] | None:
    """A body that the model answers, or None where JSON cannot carry it or it would be long."""
    inputs = model.signature.inputs
    case = model.folder.golden()
    entries = []
    for tensor in inputs:
        array = case.inputs.get(tensor.name, case.inputs.get(tensor.graph_name)) if case else None
        shape = array.shape if array is not None else [d if isinstance(d, int) else 1 for d in tensor.shape]
        count = math.prod(shape)
        if tensor.datatype in ("FP16", "BF16") or count > _LARGEST_EXAMPLE:
            return None
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(shape)}
        if array is not None:
            values = array.ravel().tolist()
        else:
            values = [{"BOOL": False, "BYTES": "text"}.get(tensor.datatype, 0)] * count
        if any(isinstance(item, bytes) for item in values):
            if sum(map(len, values)) > _LARGEST_FILE:
                return None
            entry["parameters"] = {"content_type": "base64"}
            values = [base64.b64encode(item.encode() if isinstance(item, str) else item).decode() for item in values]
        entries.append({**entry, "data": values})
    return {"inputs": entries}


def _plain(summary: str, operation: str, about: str, *, body: bool = True) -> dict[str, Any]:
    answer = _response(about, {"type": "object"}) if body else {"description": about}
    return {"summary": summary, "operationId": operation, "responses": {"200": answer}}


def _ready(summary: str, operation: str, *, body: bool = True) -> dict[str, Any]:
    found = _plain(summary, operation, "Ready for requests", body=body)
    found["responses"]["503"] = {"$ref": "#/components/responses/Error"}
    return found


def _metrics() -> dict[str, Any]:
    text = {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": "Metrics", "operationId": "metrics", "responses": {"200": text}}


def _response(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}
