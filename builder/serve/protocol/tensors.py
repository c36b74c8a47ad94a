"""Tensors of the Open Inference Protocol: datatypes as numpy dtypes, and values from and to JSON and binary.

BF16 travels as uint16 inside the server, since numpy has no such type. BYTES are arrays of str: onnxruntime's strings
are UTF-8 here; only a plain model takes other bytes. Whatever does not fit gives a Refusal that names tensor and field.
"""

from __future__ import annotations

import binascii
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from ..http.answers import Buffer, Refusal, described

Array = npt.NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(object),
    "BF16": np.dtype("<u2"),
}
ONLY_BINARY = ("FP16", "BF16")
_LEAVES: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true and false"),
    "f": ({int, float}, "numbers"),
    "i": ({int}, "whole numbers"),
    "u": ({int}, "whole numbers"),
}
PACKED = {np.dtype(code): code for code in "?BHIQbhiqfd"}
_LENGTH = struct.Struct("<I")
_MAX_DIM = 2**63 - 1
_MANY = 256
"""Elements from which on it pays to write numbers without a list of them (measured: half of the time)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One input or output by its public name; ``shape`` has an int for a fixed dim and a name for a dynamic one.
    ``any_bytes``: its BYTES need not be text."""

    name: str
    graph_name: str
    datatype: str
    shape: tuple[int | str, ...]
    any_bytes: bool = False

    @property
    def protocol_shape(self) -> list[int]:
        return [dim if isinstance(dim, int) else -1 for dim in self.shape]


def checked_shape(tensor: Tensor, given: object) -> tuple[int, ...]:
    """``given`` as a shape that the signature allows."""
    allowed = tensor.shape
    if type(given) is list and len(given) == len(allowed):
        for dim, expected in zip(given, allowed, strict=True):
            if type(dim) is not int or not 0 <= dim <= _MAX_DIM or (dim != expected and type(expected) is int):
                break
        else:
            return tuple(given)
    if type(given) is not list or not all(type(dim) is int and 0 <= dim <= _MAX_DIM for dim in given):
        raise _wrong(tensor, "shape", f"must be a list of whole numbers from 0 to 2^63-1, got {described(given)}")
    raise _wrong(tensor, "shape", f"is {described(given)}, the model takes {tensor.protocol_shape}")


def from_json(tensor: Tensor, shape: tuple[int, ...], values: object) -> Array:
    """``values``, flat or nested as ``shape``, as an array."""
    if tensor.datatype in ONLY_BINARY:
        raise _wrong(tensor, "data", f"{tensor.datatype} has no JSON form; send it as binary data")
    if type(values) is not list:
        raise _wrong(tensor, "data", f"must be a list, got {described(values)}")
    array = _strings(tensor, values) if tensor.datatype == "BYTES" else _numbers(tensor, values)
    count = math.prod(shape)
    if array.size != count:
        raise _wrong(tensor, "data", f"has {array.size} elements, shape {list(shape)} needs {count}")
    if array.ndim != 1 and array.shape != shape:
        raise _wrong(tensor, "data", f"is nested as {list(array.shape)}, shape is {list(shape)}")
    return _reshaped(tensor, array, shape)


def _numbers(tensor: Tensor, values: list[Any]) -> Array:
    dtype = DTYPES[tensor.datatype]
    leaves, wanted = _LEAVES[dtype.kind]
    types = set(map(type, values))
    try:
        if types <= leaves:  # flat: struct is quicker than numpy, and refuses what overflows
            return np.frombuffer(struct.pack(f"<{len(values)}{PACKED[dtype]}", *values), dtype)
        if not _leaf_types(values) <= leaves:
            if float in types and any(type(value) is float and abs(value) >= _MAX_DIM for value in values):
                raise OverflowError  # what JSON readers make of a whole number above 64 bits
            raise _wrong(tensor, "data", f"must hold only {wanted} for {tensor.datatype}")
        with np.errstate(over="raise"):
            return np.array(values, dtype)
    except (OverflowError, FloatingPointError, struct.error):
        raise _wrong(tensor, "data", f"has a number outside the range of {tensor.datatype}") from None
    except (ValueError, RecursionError):
        raise _wrong(tensor, "data", "is nested unevenly") from None


def _strings(tensor: Tensor, values: list[Any]) -> Array:
    try:
        if not _leaf_types(values) <= {str}:
            raise _wrong(tensor, "data", "must hold only strings for BYTES")
        array = np.array(values, dtype=object)
    except (ValueError, RecursionError):
        raise _wrong(tensor, "data", "is nested unevenly") from None
    if any(type(item) is list for item in array.ravel()):
        raise _wrong(tensor, "data", "is nested unevenly")
    return array


def from_base64(tensor: Tensor, shape: tuple[int, ...], values: object) -> Array:
    """BYTES that JSON carries as base64 (``"content_type": "base64"``), such as image files."""
    array = from_json(tensor, shape, values)
    decoded = np.empty(array.size, object)
    for number, item in enumerate(array.ravel().tolist()):
        try:
            decoded[number] = binascii.a2b_base64(item, strict_mode=True)
        except ValueError as error:
            raise _wrong(tensor, "data", f"element {number} is not base64: {error}") from None
    return decoded.reshape(array.shape)


def _leaf_types(values: list[Any]) -> set[type]:
    """Checked before numpy sees the list: it would turn true into 1, and size every element by the longest string."""
    types = set(map(type, values))
    if list in types:
        types.remove(list)
        for item in values:
            if type(item) is list:
                types |= _leaf_types(item)
    return types


def from_binary(tensor: Tensor, shape: tuple[int, ...], content: memoryview) -> Array:
    """``content`` as an array; a view on it where it is aligned."""
    if tensor.datatype == "BYTES":
        return _reshaped(tensor, _elements(tensor, math.prod(shape), content), shape)
    dtype = DTYPES[tensor.datatype]
    needed = math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        raise _wrong(tensor, "binary_data_size", f"is {len(content)}, shape {list(shape)} needs {needed}")
    try:
        return viewed(dtype, shape, content, 0)
    except NoBoolean:
        raise _wrong(tensor, "binary data", "of BOOL has a byte other than 0 and 1") from None
    except (ValueError, OverflowError):
        raise _wrong(tensor, "shape", f"{list(shape)} is too large") from None


class NoBoolean(ValueError):
    """A byte other than 0 and 1 in a BOOL tensor."""


def viewed(dtype: np.dtype[Any], shape: tuple[int, ...], content: Buffer, at: int) -> Array:
    """The tensor that begins at ``at``. Raises NoBoolean; ValueError or OverflowError where it does not fit."""
    array: Array = np.ndarray(shape, dtype, content, at)
    if not array.flags.aligned:
        array = array.copy()
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise NoBoolean
    return array


def _elements(tensor: Tensor, count: int, content: memoryview) -> Array:
    found: list[str | bytes] = []
    at, end = 0, len(content)
    while at < end:
        if end - at < 4 or end - at - 4 < (size := _LENGTH.unpack_from(content, at)[0]):
            raise _wrong(tensor, "binary data", f"of BYTES ends inside element {len(found)}")
        try:
            element = content[at + 4 : at + 4 + size]
            found.append(bytes(element) if tensor.any_bytes else str(element, "utf-8"))
        except UnicodeDecodeError:
            raise _wrong(tensor, "binary data", f"element {len(found)} is not UTF-8") from None
        at += 4 + size
    if len(found) != count:
        raise _wrong(tensor, "binary data", f"has {len(found)} elements, the shape needs {count}")
    array = np.empty(len(found), object)
    array[:] = found
    return array


def raw_input(tensor: Tensor, content: memoryview) -> Array:
    """A request that is only data (Triton's raw binary request): the shape follows from the size.

    A dynamic first dim beside another one is a batch of 1; BYTES is one element, without its length.
    """
    shape: list[int | str] = list(tensor.shape)
    if tensor.datatype == "BYTES":
        fixed = tuple(dim if isinstance(dim, int) else 1 for dim in shape)
        return from_binary(tensor, fixed, memoryview(_LENGTH.pack(len(content)) + content))
    dynamic = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
    if len(dynamic) > 1 and dynamic[0] == 0:
        shape[dynamic.pop(0)] = 1
    if len(dynamic) > 1:
        raise _wrong(tensor, "shape", f"{tensor.protocol_shape} does not follow from the size of a raw request")
    if dynamic:
        known = math.prod(dim for dim in shape if isinstance(dim, int)) * DTYPES[tensor.datatype].itemsize
        shape[dynamic[0]] = len(content) // known if known else 0
    return from_binary(tensor, tuple(dim for dim in shape if isinstance(dim, int)), content)


def to_binary(datatype: str, array: Array) -> Buffer:
    """Little-endian, row-major; without a copy where the array is that already."""
    if datatype == "BYTES":
        encoded = [item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel()]
        return b"".join(part for item in encoded for part in (_LENGTH.pack(len(item)), item))
    if array.size == 0:
        return b""
    return np.ascontiguousarray(array, DTYPES[datatype]).data.cast("B")


def to_json(array: Array) -> list[Any] | orjson.Fragment:
    """For ``as_json``. Floats have the value that they have as doubles, as Triton writes them. BYTES that are no text
    have no form in JSON; raises Refusal."""
    kind = array.dtype.kind
    if array.size >= _MANY and kind in "fiub" and array.dtype.isnative and (kind != "f" or np.isfinite(array).all()):
        flat = array.ravel()
        doubles = flat.astype(np.float64, copy=False) if kind == "f" else flat
        return orjson.Fragment(orjson.dumps(doubles, option=orjson.OPT_SERIALIZE_NUMPY))
    values: list[Any] = (array if array.ndim == 1 else array.ravel()).tolist()
    if kind == "O":
        return [item if isinstance(item, str) else _text(item) for item in values]
    return values


def _text(item: bytes) -> str:
    try:
        return str(item, "utf-8")
    except UnicodeDecodeError:
        raise Refusal(400, "an output has bytes that are not text; ask for it with binary_data") from None


def _reshaped(tensor: Tensor, array: Array, shape: tuple[int, ...]) -> Array:
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError):
        raise _wrong(tensor, "shape", f"{list(shape)} is too large") from None


def _wrong(tensor: Tensor, field: str, what: str) -> Refusal:
    return Refusal(400, f"input '{tensor.name}': {field} {what}")
