"""Tensors of the Open Inference Protocol v2 as numpy arrays, and their JSON form.

FP32 and the like are numpy's own types; BYTES are arrays of ``bytes`` objects. JSON tensors are flat or nested lists in
row-major order (open-inference-protocol, inference_rest.md, "Tensor Data"). FP16 has no JSON form there; NaN and
infinities have none in JSON. Used by golden cases and by the probe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from builder.model.golden import Array
from builder.model.signature import Datatype

_DTYPES: dict[Datatype, np.dtype[Any]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: np.dtype(np.uint8),
    Datatype.UINT16: np.dtype(np.uint16),
    Datatype.UINT32: np.dtype(np.uint32),
    Datatype.UINT64: np.dtype(np.uint64),
    Datatype.INT8: np.dtype(np.int8),
    Datatype.INT16: np.dtype(np.int16),
    Datatype.INT32: np.dtype(np.int32),
    Datatype.INT64: np.dtype(np.int64),
    Datatype.FP16: np.dtype(np.float16),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BYTES: np.dtype(np.object_),
}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}


class TensorProblem(ValueError):
    """What is wrong with a JSON tensor, or why a value has no JSON form. The caller says where."""


def dtype_of(datatype: Datatype) -> np.dtype[Any]:
    """numpy's type for a datatype. Raises TensorProblem for BF16, which numpy does not have."""
    if datatype not in _DTYPES:
        raise TensorProblem(f"{datatype} has no numpy type")
    return _DTYPES[datatype]


def datatype_of(array: Array) -> Datatype | None:
    """The datatype of an array, whatever its byte order; None for a type that the protocol does not have."""
    if array.dtype.kind in "SU":
        return Datatype.BYTES
    return _DATATYPES.get(array.dtype.newbyteorder("="))


def as_bytes_array(array: Array) -> Array:
    """An array of text or bytes as an array of ``bytes`` objects."""
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    result = np.empty(len(items), dtype=np.object_)
    result[:] = items
    return result.reshape(array.shape)


def decode_tensors(entries: object) -> dict[str, Array]:
    """The arrays of an ``inputs`` or ``outputs`` list by name. Raises TensorProblem."""
    if not isinstance(entries, list):
        raise TensorProblem("it is not a list of tensors")
    tensors: dict[str, Array] = {}
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise TensorProblem("a tensor has no name")
        if name in tensors:
            raise TensorProblem(f"tensor {name!r} stands there twice")
        try:
            tensors[name] = decode_tensor(entry)
        except TensorProblem as error:
            raise TensorProblem(f"tensor {name!r}: {error}") from error
    return tensors


def decode_tensor(entry: Mapping[str, Any]) -> Array:
    """One JSON tensor ``{name, shape, datatype, data}`` as an array. Raises TensorProblem."""
    datatype, shape = _declared(entry)
    if "data" not in entry:
        raise TensorProblem("it has no data (tensors in the binary extension are not read from files)")
    items = _flat(entry["data"])
    if len(items) != math.prod(shape):
        raise TensorProblem(f"{len(items)} elements do not fill the shape {list(shape)}")
    if datatype is Datatype.BYTES:
        return as_bytes_array(np.array(_texts(items), dtype=np.object_)).reshape(shape)
    return _numbers(items, datatype).reshape(shape)


def encode_tensor(name: str, array: Array) -> dict[str, Any]:
    """The JSON tensor of an array, its data flat. Raises TensorProblem where it has no JSON form."""
    datatype = datatype_of(array) if array.dtype != np.object_ else Datatype.BYTES
    if datatype is None or datatype is Datatype.FP16:
        raise TensorProblem(f"tensor {name!r}: {datatype or array.dtype} has no JSON form")
    if datatype is Datatype.BYTES:
        try:
            items = [item.decode() for item in as_bytes_array(array).ravel().tolist()]
        except UnicodeDecodeError as error:
            raise TensorProblem(f"tensor {name!r}: its bytes are not UTF-8, which JSON needs") from error
    else:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TensorProblem(f"tensor {name!r}: NaN and infinities have no JSON form")
        items = array.ravel().tolist()
    return {"name": name, "shape": list(array.shape), "datatype": datatype.value, "data": items}


def decode_body(content: bytes, key: str) -> dict[str, Array]:
    """The tensors below ``key`` ("inputs" of a request, "outputs" of a response). Raises TensorProblem."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TensorProblem(f"it is not JSON: {error}") from error
    if not isinstance(body, dict) or key not in body:
        raise TensorProblem(f"it is not an object with {key!r}")
    return decode_tensors(body[key])


def _declared(entry: Mapping[str, Any]) -> tuple[Datatype, tuple[int, ...]]:
    try:
        datatype = Datatype(str(entry.get("datatype")))
    except ValueError as error:
        raise TensorProblem(f"{entry.get('datatype')!r} is not a datatype; there is {', '.join(Datatype)}") from error
    if datatype in (Datatype.FP16, Datatype.BF16):
        raise TensorProblem(f"{datatype} has no JSON form; use a .npz file")
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise TensorProblem(f"its shape {shape!r} is not a list of sizes")
    return datatype, tuple(shape)


def _flat(items: object) -> list[Any]:
    if not isinstance(items, list):
        raise TensorProblem("its data is not a list")
    flat: list[Any] = []
    stack = [iter(items)]
    while stack:
        item = next(stack[-1], stack)
        if item is stack:
            stack.pop()
        elif isinstance(item, list):
            stack.append(iter(item))
        else:
            flat.append(item)
    return flat


def _texts(items: list[Any]) -> list[str]:
    wrong = next((item for item in items if not isinstance(item, str)), None)
    if wrong is not None:
        raise TensorProblem(f"{wrong!r} is not text")
    return items


def _numbers(items: list[Any], datatype: Datatype) -> Array:
    dtype = dtype_of(datatype)
    allowed: tuple[type, ...] = {"b": (bool,), "f": (int, float)}.get(dtype.kind, (int,))
    wrong = [item for item in items if type(item) not in allowed]
    if wrong:
        raise TensorProblem(f"{wrong[0]!r} is not a value of {datatype}")
    try:
        return np.array(items, dtype=dtype)
    except OverflowError as error:
        raise TensorProblem(f"a value does not fit into {datatype}") from error
