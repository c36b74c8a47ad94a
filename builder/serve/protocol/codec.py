"""Inference requests and responses on the wire: JSON, Triton's binary tensor extension, gzip and deflate.

Refuses with a message that names tensor and field; nothing here depends on what the model computes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from ..http.answers import Buffer, Refusal, Response, described
from .compression import compressed, decompressed
from .forms import Form, Wanted
from .repeats import Repeats, filled, framed
from .tensors import (
    ONLY_BINARY,
    Array,
    Tensor,
    checked_shape,
    from_base64,
    from_binary,
    from_json,
    raw_input,
)

HEADER_LENGTH = "inference-header-content-length"
_UNSUPPORTED = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
_NO_ORDER = ("BOOL", "BYTES", "BF16")
_NONE: dict[str, Any] = {}
_NOTHING = memoryview(b"")


class Signature:
    """A model's tensors, and what follows from them for every request."""

    __slots__ = (
        "all_as_json",
        "all_in_binary",
        "batched",
        "datatypes",
        "inputs",
        "known_inputs",
        "known_outputs",
        "outputs",
        "repeats",
        "takes_files",
    )

    def __init__(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        first = {each.shape[0] if len(each.shape) > 1 else 0 for each in (*inputs, *outputs)}
        self.batched = len(first) == 1 and isinstance(first.pop(), str)
        """Every tensor begins with the same dynamic dim and goes on behind it, which is a batch in Triton's words."""
        self.takes_files = len(inputs) == 1 and inputs[0].any_bytes
        """A text or an image file may be the whole body of a request, and is answered in JSON."""
        self.datatypes = {tensor.graph_name: tensor.datatype for tensor in inputs}
        self.repeats = Repeats()
        self.known_inputs = {tensor.name: tensor for tensor in inputs}
        self.known_outputs = {tensor.name: tensor for tensor in outputs}
        self.all_as_json = Form(Wanted(tensor, False) for tensor in outputs)
        self.all_in_binary = Form(Wanted(tensor, True) for tensor in outputs)


@dataclass(slots=True)
class InferRequest:
    feeds: dict[str, Array]
    """By the graph's names."""
    form: Form
    id: str | None
    size: int
    """Elements of all inputs together."""
    timeout_us: int = 0
    """How long the client wants it to wait at most; 0 where it does not say."""


def decode(signature: Signature, headers: dict[str, str], body: bytes | bytearray, limit: int) -> InferRequest:
    """The request that ``body`` carries; ``limit`` holds for the decompressed body. Raises Refusal."""
    coding = headers.get("content-encoding")
    if coding is not None and (coding := coding.strip().lower()) != "identity":
        body = decompressed(coding, body, limit)
    header = headers.get(HEADER_LENGTH)
    if header is not None:
        return _decode_framed(signature, header, memoryview(body))
    last = signature.repeats.last
    if last is not None and body.startswith(last.before) and body.endswith(last.after):
        array = filled(last, body, len(last.before), len(body) - len(last.after))
        if array is not None:
            return InferRequest({last.graph_name: array}, last.form, None, last.count, last.timeout_us)
    if signature.takes_files and _is_file(headers.get("content-type", "")):
        return _decode_raw(signature, memoryview(body))
    if len(signature.inputs) == 1:
        return _decode_repeated(signature, body)
    return _decode_json(signature, body, _NOTHING)


def _decode_framed(signature: Signature, header: str, content: memoryview) -> InferRequest:
    """A JSON text of ``header`` bytes, then binary data."""
    length = int(header) if header.isascii() and header.isdigit() and len(header) < 19 else len(content) + 1
    if length > len(content):
        raise Refusal(400, f"Inference-Header-Content-Length {header!r} is not a length inside the body")
    if length == 0:
        return _decode_raw(signature, content)
    text = bytes(content[:length])
    framing = signature.repeats.framing(text)
    if framing is not None and framing.length == len(content) - length:
        try:
            feeds = framed(framing, content, length)
            return InferRequest(feeds, framing.form, None, framing.size, framing.timeout_us)
        except ValueError:
            pass  # the way below says what is wrong
    request = _decode_json(signature, text, content[length:])
    signature.repeats.keep_framing(signature, text, request, len(content) - length)
    return request


def _decode_repeated(signature: Signature, body: bytes | bytearray) -> InferRequest:
    """JSON for a model with one input, whose numbers are often all that is new."""
    known = signature.repeats.blank(body)
    if known is None:
        return _decode_json(signature, body, _NOTHING)
    text, start, end, blank = known
    if blank is not None:
        array = filled(blank, body, start, end)
        if array is not None:
            return InferRequest({blank.graph_name: array}, blank.form, None, blank.count, blank.timeout_us)
    request = _decode_json(signature, body, _NOTHING)
    signature.repeats.keep_blank(signature, text, start, request)
    return request


def _decode_raw(signature: Signature, content: memoryview) -> InferRequest:
    if len(signature.inputs) != 1:
        raise Refusal(400, f"a raw binary request needs a model with one input, this one has {len(signature.inputs)}")
    tensor = signature.inputs[0]
    array = raw_input(tensor, content)
    form = signature.all_as_json if signature.takes_files else signature.all_in_binary
    return InferRequest({tensor.graph_name: array}, form, None, array.size)


def _is_file(content_type: str) -> bool:
    return content_type.lower().startswith(("image/", "text/plain"))


def from_text(text: Buffer) -> Any:
    """What Python's own reader takes: NaN and infinities too, and whole numbers of any size; orjson is asked first.
    Raises ValueError, RecursionError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(str(text, "utf-8").removeprefix("\ufeff"))


def _decode_json(signature: Signature, text: Buffer, binary: memoryview) -> InferRequest:
    try:
        request = from_text(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"request is not JSON: {error}") from None
    if type(request) is not dict:
        raise Refusal(400, "request must be a JSON object")
    identifier = request.get("id")
    if identifier is not None and type(identifier) is not str:
        raise Refusal(400, "id must be a string")
    parameters = _parameters(request, "request")
    all_binary = _flag(parameters, "binary_data_output", "request")
    feeds, size = _inputs(signature, request.get("inputs"), binary)
    form = _outputs(signature, request.get("outputs"), all_binary is True)
    timeout = 0
    if parameters:
        timeout = _count(parameters, "timeout", "request")
        _count(parameters, "priority", "request")
    return InferRequest(feeds, form, identifier, size, timeout)


def _inputs(signature: Signature, given: object, binary: memoryview) -> tuple[dict[str, Array], int]:
    if type(given) is not list:
        raise Refusal(400, "inputs must be a list of tensors")
    known = signature.known_inputs
    feeds: dict[str, Array] = {}
    at = size = 0
    for entry in given:
        tensor = _named(entry, known, "input")
        if tensor.graph_name in feeds:
            raise Refusal(400, f"input '{tensor.name}' is given twice")
        array, used = _input(tensor, entry, binary[at:])
        at += used
        size += array.size
        feeds[tensor.graph_name] = array
    if at != len(binary):
        raise Refusal(400, f"body has {len(binary)} bytes of binary data, the inputs' binary_data_size add up to {at}")
    if len(feeds) != len(known):
        missing = [tensor.name for tensor in signature.inputs if tensor.graph_name not in feeds]
        raise Refusal(400, f"input '{missing[0]}' is missing; the model takes {', '.join(known)}")
    return feeds, size


def _input(tensor: Tensor, entry: dict[str, Any], binary: memoryview) -> tuple[Array, int]:
    """The array, and how many bytes of binary data it took."""
    where = f"input '{tensor.name}'"
    datatype = entry.get("datatype")
    if datatype != tensor.datatype:
        raise Refusal(400, f"{where}: datatype is {described(datatype)}, the model takes {tensor.datatype}")
    shape = checked_shape(tensor, entry.get("shape"))
    parameters = _parameters(entry, where)
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise Refusal(400, f"{where}: has neither data nor a binary_data_size parameter")
        decoded = tensor.any_bytes and parameters.get("content_type") == "base64"
        return (from_base64 if decoded else from_json)(tensor, shape, entry["data"]), 0
    if "data" in entry:
        raise Refusal(400, f"{where}: has both data and binary_data_size")
    if type(size) is not int or size < 0:
        raise Refusal(400, f"{where}: binary_data_size must be a whole number")
    if size > len(binary):
        raise Refusal(400, f"{where}: binary_data_size is {size}, the body has only {len(binary)} bytes left")
    return from_binary(tensor, shape, binary[:size]), size


def _outputs(signature: Signature, given: object, all_binary: bool) -> Form:
    if given is None or given == []:
        form = signature.all_in_binary if all_binary else signature.all_as_json
    elif type(given) is list:
        form = Form(_requested(signature, given, all_binary))
    else:
        raise Refusal(400, "outputs must be a list")
    for each in form.wanted:
        if each.tensor.datatype in ONLY_BINARY and not each.binary:
            kind = each.tensor.datatype
            raise Refusal(400, f"output '{each.tensor.name}': {kind} has no JSON form; ask for it with binary_data")
    return form


def _requested(signature: Signature, given: list[Any], all_binary: bool) -> tuple[Wanted, ...]:
    known = signature.known_outputs
    wanted: dict[str, Wanted] = {}
    for entry in given:
        tensor = _named(entry, known, "output")
        if tensor.name in wanted:
            continue  # asked for twice, given once, as Triton does
        where = f"output '{tensor.name}'"
        parameters = _parameters(entry, where)
        binary = _flag(parameters, "binary_data", where)
        count = _count(parameters, "classification", where) if parameters else 0
        picked = _classes(signature, tensor, count) if count else None
        wanted[tensor.name] = Wanted(tensor, all_binary if binary is None else binary, picked)
    return tuple(wanted.values())


def _classes(signature: Signature, tensor: Tensor, count: int) -> Callable[[Array], Array]:
    if tensor.datatype in _NO_ORDER:
        raise Refusal(400, f"output '{tensor.name}': classification is not for {tensor.datatype}")
    from .classification import highest

    return partial(highest, count=count, batched=signature.batched)


def _named(entry: object, known: dict[str, Tensor], kind: str) -> Tensor:
    if type(entry) is not dict or type(entry.get("name")) is not str:
        raise Refusal(400, f"each of {kind}s must be an object with a name")
    tensor = known.get(entry["name"])
    if tensor is None:
        raise Refusal(400, f"unexpected {kind} {described(entry['name'])}; the model has {', '.join(known)}")
    return tensor


def _parameters(owner: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return _NONE
    if type(parameters) is not dict:
        raise Refusal(400, f"{where}: parameters must be an object")
    for name in _UNSUPPORTED:
        if name in parameters:
            raise Refusal(400, f"{where}: parameter {name} is not supported by this server")
    return parameters


def _flag(parameters: dict[str, Any], name: str, where: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise Refusal(400, f"{where}: parameter {name} must be true or false")
    return value


def _count(parameters: dict[str, Any], name: str, where: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**64:
        raise Refusal(400, f"{where}: parameter {name} must be a whole number from 0 to 2^64-1")
    return value


def encode(model: tuple[str, str], request: InferRequest, results: list[Array], accept_encoding: str) -> Response:
    """The response for ``results``, in the order of ``request.form``; ``model`` is name and version."""
    response = request.form.response(model, request.id, results)
    return compressed(response, accept_encoding) if accept_encoding else response
