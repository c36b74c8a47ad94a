"""How each server wants to be asked, and how it answers: the same arrays, each in its own protocol."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.bench.serving.models import Arrays, Model

_JSON = {"Content-Type": "application/json"}
_LENGTH = "Inference-Header-Content-Length"
_DATATYPES = {"float32": "FP32", "int64": "INT64"}
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """``read`` takes the headers (lower case) and the body of an answer, and the names of the outputs."""

    request: Callable[[Model], Request]
    read: Callable[[Mapping[str, str], bytes, list[str]], Arrays]


class WrongAnswer(Exception):
    """A server answered, but not what onnxruntime does."""


def check(port: int, model: Model, dialect: Dialect) -> None:
    """One request on a connection of its own. Raises OSError, http.client.HTTPException or WrongAnswer."""
    request = dialect.request(model)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise WrongAnswer(f"status {response.status}: {body[:200]!r}")
    found = dialect.read({name.lower(): value for name, value in response.getheaders()}, body, list(model.expected))
    for name, expected in model.expected.items():
        if not np.allclose(np.asarray(found[name], np.float32), expected, rtol=_RELATIVE, atol=_ABSOLUTE):
            raise WrongAnswer(f"{name} is not what onnxruntime answers")


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _described(name: str, array: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": _DATATYPES[str(array.dtype)]}


def _v2_json(model: Model) -> Request:
    inputs = [{**_described(name, array), "data": array.ravel().tolist()} for name, array in model.inputs.items()]
    return Request(path=f"/v2/models/{model.name}/infer", headers=_JSON, body=_compact({"inputs": inputs}))


def _read_v2_json(headers: Mapping[str, str], body: bytes, names: list[str]) -> Arrays:
    return {each["name"]: np.reshape(each["data"], each["shape"]) for each in json.loads(body)["outputs"]}


def _v2_binary(model: Model) -> Request:
    """Triton's binary tensor extension, both ways."""
    inputs = [
        {**_described(name, array), "parameters": {"binary_data_size": array.nbytes}}
        for name, array in model.inputs.items()
    ]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in model.expected]
    head = _compact({"inputs": inputs, "outputs": outputs})
    headers = {"Content-Type": "application/octet-stream", _LENGTH: str(len(head))}
    body = head + b"".join(array.tobytes() for array in model.inputs.values())
    return Request(path=f"/v2/models/{model.name}/infer", headers=headers, body=body)


def _read_v2_binary(headers: Mapping[str, str], body: bytes, names: list[str]) -> Arrays:
    start = int(headers[_LENGTH.lower()])
    found = {}
    for each in json.loads(body[:start])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        found[each["name"]] = np.frombuffer(body[start : start + size], np.float32).reshape(each["shape"])
        start += size
    return found


def _lists(model: Model) -> dict[str, Any]:
    return {name: array.tolist() for name, array in model.inputs.items()}


def _fields(model: Model) -> Request:
    """One JSON field for each input, nested lists: what people write with FastAPI, LitServe and BentoML."""
    return Request(path=f"/{model.name}", headers=_JSON, body=_compact(_lists(model)))


def _predict(model: Model) -> Request:
    return Request(path="/predict", headers=_JSON, body=_compact(_lists(model)))


def _read_fields(headers: Mapping[str, str], body: bytes, names: list[str]) -> Arrays:
    return dict(json.loads(body))


def _read_array(headers: Mapping[str, str], body: bytes, names: list[str]) -> Arrays:
    return {names[0]: json.loads(body)}


def _invocations(model: Model) -> Request:
    return Request(path="/invocations", headers=_JSON, body=_compact({"inputs": _lists(model)}))


def _read_predictions(headers: Mapping[str, str], body: bytes, names: list[str]) -> Arrays:
    return dict(json.loads(body)["predictions"])


V2_JSON = Dialect(request=_v2_json, read=_read_v2_json)
V2_BINARY = Dialect(request=_v2_binary, read=_read_v2_binary)
FIELDS = Dialect(request=_fields, read=_read_fields)
ARRAY = Dialect(request=_fields, read=_read_array)
PREDICT = Dialect(request=_predict, read=_read_fields)
INVOCATIONS = Dialect(request=_invocations, read=_read_predictions)
