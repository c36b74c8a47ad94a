"""A request that a model answers, as programs that send it: a curl line, and Python with tritonclient.

The request is the example of the server's own OpenAPI document, which the page at / begins with, too (its programs.js
writes the same lines for a browser). Where there is none, since JSON cannot carry it or it would be long, it is zeros.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.model.signature import Datatype, Signature, TensorSpec

_LONGEST_INLINE = 4000
"""Characters of a request within a line: more is nothing to read or to copy."""

_NUMPY = {
    Datatype.BOOL: "np.bool_",
    Datatype.FP16: "np.float16",
    Datatype.BF16: "ml_dtypes.bfloat16",
    Datatype.FP32: "np.float32",
    Datatype.FP64: "np.float64",
    Datatype.BYTES: "object",
}
_EXACT = 2**24
_HALF = (Datatype.FP16, Datatype.BF16)
_SIZES = {Datatype.BOOL: 1, Datatype.FP16: 2, Datatype.BF16: 2, Datatype.FP32: 4, Datatype.FP64: 8, Datatype.BYTES: 4}
"""Bytes of an element in binary; of BYTES those of an empty string."""

_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFElEQVR42mNoIBEwjGoY1TB8NQAAJYSAELxv8c8AAAAASUVORK5CYII="
"""A PNG file of 16 x 16 grey pixels, for models whose own example is too long for a line."""

_IMAGES = (("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("UklGR", "image/webp"), ("R0lGOD", "image/gif"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How a server is reached: its ``url`` (https where it speaks TLS), whether it wants a key, whom to trust (a file,
    or empty) and whether it wants a certificate."""

    url: str
    wants_key: bool = False
    authority: str = ""
    wants_certificate: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One input of a request; ``data`` is flat, and None where all of it is zeros. ``is_coded``: in base64."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: tuple[Any, ...] | None = None
    is_coded: bool = False

    @property
    def size(self) -> int:
        """Bytes of it as zeros in binary."""
        width = _SIZES.get(self.datatype) or int(self.datatype.value.lstrip("UINT")) // 8
        return math.prod(self.shape) * width


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A request for ``model``. ``takes`` is text or image where that may be the whole body, else tensors."""

    model: str
    inputs: tuple[Value, ...]
    outputs: tuple[TensorSpec, ...]
    takes: str = "tensors"

    @property
    def is_inline(self) -> bool:
        return all(value.data is not None for value in self.inputs)

    @property
    def file(self) -> str:
        """The image that is the whole body, in base64; empty where there is none."""
        if self.takes != "image" or not self.inputs[0].data:
            return ""
        return str(self.inputs[0].data[0])

    @property
    def text(self) -> str | None:
        """The text that is the whole body."""
        data, coded = self.inputs[0].data, self.inputs[0].is_coded
        return str(data[0]) if self.takes == "text" and data and len(data) == 1 and not coded else None


def example_of(
    model: str, signature: Signature, given: Mapping[str, Any] | None = None, about: Mapping[str, Any] | None = None
) -> Example:
    """``given`` is a request in JSON that the model answers, ``about`` what its server says beside it: what it
    ``takes``, and the ``shapes`` of a request. Without them: zeros, dynamic dims 1."""
    about = about or {}
    takes, shapes = str(about.get("takes", "tensors")), about.get("shapes") or {}
    values = [_value(entry) for entry in given["inputs"]] if given else []
    values = _first_row(values, signature)
    if len(json.dumps([value.data for value in values])) > _LONGEST_INLINE:
        shapes, values = {value.name: value.shape for value in values}, []
    if not values and takes == "image":
        values = [_picture(signature.inputs[0])]
    values = values or [_zeros(tensor, shapes.get(tensor.name)) for tensor in signature.inputs]
    return Example(model=model, inputs=tuple(values), outputs=signature.outputs, takes=takes)


def _value(entry: Mapping[str, Any]) -> Value:
    data, datatype = entry["data"], Datatype(entry["datatype"])
    if datatype is Datatype.FP32:  # as short as they can be said and still be the same number
        data = [_shortest(item) for item in data]
    coded = (entry.get("parameters") or {}).get("content_type") == "base64"
    shape = tuple(int(dim) for dim in entry["shape"])
    return Value(name=entry["name"], datatype=datatype, shape=shape, data=tuple(data), is_coded=coded)


def _shortest(number: float) -> float | int:
    said = float(str(np.float32(number)))
    return int(said) if said.is_integer() and abs(said) < _EXACT else said


def _first_row(values: Sequence[Value], signature: Signature) -> list[Value]:
    """Of a batch its first row: that says as much."""
    is_batch = all(tensor.shape and isinstance(tensor.shape[0], str) for tensor in signature.inputs)
    rows = {value.shape[0] for value in values if value.shape}
    if not is_batch or len(rows) != 1 or 0 in rows:
        return list(values)
    return [
        Value(
            name=value.name,
            datatype=value.datatype,
            shape=(1, *value.shape[1:]),
            data=(value.data or ())[: math.prod(value.shape[1:])],
            is_coded=value.is_coded,
        )
        for value in values
    ]


def _picture(tensor: TensorSpec) -> Value:
    return Value(name=tensor.name, datatype=tensor.datatype, shape=(1,), data=(_PICTURE,), is_coded=True)


def _zeros(tensor: TensorSpec, shape: Sequence[int] | None) -> Value:
    sizes = tuple(shape) if shape else tuple(dim if isinstance(dim, int) and dim >= 0 else 1 for dim in tensor.shape)
    few = math.prod(sizes) <= _LONGEST_INLINE // 10 and tensor.datatype not in _HALF
    filler = {Datatype.BOOL: False, Datatype.BYTES: "text"}.get(tensor.datatype, 0)
    data = (filler,) * math.prod(sizes) if few else None
    return Value(name=tensor.name, datatype=tensor.datatype, shape=sizes, data=data)


def curl(example: Example, access: Access) -> str:
    """For a shell of POSIX. What JSON cannot carry, or would be long, is zeros in binary; an answer of half-precision
    floats has no JSON either and goes into a file."""
    words = [f"curl {shlex.quote(f'{access.url}/v2/models/{example.model}/infer')}"]
    words += [f"--cacert {shlex.quote(access.authority)}"] if access.authority else []
    words += ["--cert client.crt --key client.key"] if access.wants_certificate else []
    words += ['-H "Authorization: Bearer $API_KEY"'] if access.wants_key else []
    half = [tensor.name for tensor in example.outputs if tensor.datatype in _HALF]
    before = ""
    if example.file:
        before = f"echo {example.file} | base64 -d | "
        words += [f"-H 'Content-Type: {_image_type(example.file)}'", "--data-binary @-"]
    elif example.text is not None:
        words += ["-H 'Content-Type: text/plain; charset=utf-8'", f"--data-raw {shlex.quote(example.text)}"]
    elif example.is_inline and not half:
        said = {"inputs": [_entry(value) for value in example.inputs]}
        body = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        words += ["-H 'Content-Type: application/json'", f"--data-raw {shlex.quote(body)}"]
    else:
        head = json.dumps({"inputs": [_binary_entry(value) for value in example.inputs], **_wanted(example, half)})
        zeros = sum(value.size for value in example.inputs)
        before = f"{{ printf %s {shlex.quote(head)}; head -c {zeros} /dev/zero; }} | "
        words += [f"-H 'Inference-Header-Content-Length: {len(head.encode())}'", "--data-binary @-"]
        words += ["--output answer.bin"] if half else []
    return before + " \\\n  ".join(words)


def _entry(value: Value) -> dict[str, Any]:
    coded = {"parameters": {"content_type": "base64"}} if value.is_coded else {}
    named = {"name": value.name, "datatype": value.datatype.value, "shape": list(value.shape)}
    return {**named, **coded, "data": list(value.data or ())}


def _binary_entry(value: Value) -> dict[str, Any]:
    return {
        "name": value.name,
        "datatype": value.datatype.value,
        "shape": list(value.shape),
        "parameters": {"binary_data_size": value.size},
    }


def _wanted(example: Example, half: Sequence[str]) -> dict[str, Any]:
    if not half:
        return {}
    wanted = [
        {"name": one.name, **({"parameters": {"binary_data": True}} if one.name in half else {})}
        for one in example.outputs
    ]
    return {"outputs": wanted}


def _image_type(coded: str) -> str:
    return next((kind for start, kind in _IMAGES if coded.startswith(start)), "image/png")


def python(example: Example, access: Access) -> str:
    """A program that prints every output; it needs ``tritonclient[http]``."""
    return "\n".join(_python(example, access))


def _python(example: Example, access: Access) -> Iterator[str]:
    coded = any(value.is_coded for value in example.inputs)
    first = [f"import {name}" for name, needed in (("base64", coded), ("os", access.wants_key)) if needed]
    yield from (*first, *([""] if first else []))
    if any(value.datatype is Datatype.BF16 for value in example.inputs):
        yield "import ml_dtypes"
    yield from ("import numpy as np", "import tritonclient.http as triton", "")
    yield f"client = triton.InferenceServerClient({', '.join(_connection(access))})"
    names = []
    for number, value in enumerate(example.inputs):
        names.append("tensor" if len(example.inputs) == 1 else f"tensor_{number}")
        shape = list(value.shape)
        yield f"{names[-1]} = triton.InferInput({_text(value.name)}, {shape}, {_text(value.datatype.value)})"
        yield f"{names[-1]}.set_data_from_numpy({_array(value)})"
    key = ', headers={"Authorization": "Bearer " + os.environ["API_KEY"]}' if access.wants_key else ""
    yield f"answer = client.infer({_text(example.model)}, [{', '.join(names)}]{key})"
    for tensor in example.outputs:
        yield f"print(answer.as_numpy({_text(tensor.name)}))"


def _connection(access: Access) -> Iterator[str]:
    scheme, _, address = access.url.partition("://")
    yield _text(address)
    if scheme == "https":
        yield "ssl=True"
        files = {"ca_certs": access.authority} if access.authority else {}
        files |= {"certfile": "client.crt", "keyfile": "client.key"} if access.wants_certificate else {}
        if files:
            yield f"ssl_options={_text(files)}"


def _array(value: Value) -> str:
    shape, kind = value.shape, _NUMPY.get(value.datatype) or f"np.{value.datatype.value.lower()}"
    if value.data is None:
        return f'np.full({shape}, "", object)' if value.datatype is Datatype.BYTES else f"np.zeros({shape}, {kind})"
    listed = f"[{', '.join(_element(item) for item in value.data)}]"
    if value.is_coded:
        listed = f"[base64.b64decode(item) for item in {listed}]"
    made = f"np.array({listed}, {kind})"
    return made if len(shape) == 1 else f"{made}.reshape({shape})"


def _element(item: object) -> str:
    return _text(item) if isinstance(item, str) else repr(item)


def _text(value: object) -> str:
    """As Python writes it, too."""
    return json.dumps(value, ensure_ascii=False)
