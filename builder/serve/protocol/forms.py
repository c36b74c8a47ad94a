"""An answer's form: which outputs a client asked for, how each travels, and the texts around their numbers.

Those texts follow from the shapes alone: they are written once and kept, since most answers have the same few shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ..http.answers import BINARY, JSON, Buffer, Response, as_json
from .tensors import Array, Tensor, to_binary, to_json

_KEPT = 64
_FEW = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that the client asked for, and how it shall travel."""

    tensor: Tensor
    binary: bool
    picked: Callable[[Array], Array] | None = None
    """Makes what is sent instead, as BYTES (classification.py)."""


class Form:
    """``names`` are the graph's, in the order of ``wanted``. Several threads may use it at once."""

    __slots__ = ("_is_binary", "_is_text", "_texts", "names", "wanted")

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self.wanted = tuple(wanted)
        self.names = [each.tensor.graph_name for each in self.wanted]
        as_they_are = all(each.picked is None for each in self.wanted)
        self._is_text = as_they_are and not any(each.binary for each in self.wanted)
        fixed = all(each.tensor.datatype != "BYTES" for each in self.wanted)
        self._is_binary = as_they_are and fixed and all(each.binary for each in self.wanted)
        self._texts: dict[tuple[Any, ...], bytes] = {}

    def response(self, model: tuple[str, str], identifier: str | None, results: list[Array]) -> Response:
        """``model`` is name and version, always the same ones for a form; ``results`` are those of ``names``."""
        if self._is_text:
            return Response(200, JSON, (self._text(model, identifier, results),))
        if self._is_binary and not identifier:
            shapes = tuple([array.shape for array in results])
            text = self._texts.get(shapes)
            parts = [to_binary(each.tensor.datatype, array) for each, array in zip(self.wanted, results, strict=True)]
            if text is None:
                text = self._keep(shapes, as_json(self._described(model, None, results)[0]))
        else:
            described, parts = self._described(model, identifier, results)
            text = as_json(described)
            if not parts:
                return Response(200, JSON, (text,))
        return Response(200, BINARY, (text, *parts), (("Inference-Header-Content-Length", str(len(text))),))

    def _text(self, model: tuple[str, str], identifier: str | None, results: list[Array]) -> bytes:
        """All outputs in JSON."""
        pieces: list[bytes] = []
        for number, array in enumerate(results):
            key = (number, *array.shape)
            pieces.append(self._texts.get(key) or self._keep(key, self._before(model, number, array)))
            pieces.append(_numbers(array))
        pieces.append(b'}],"id":%b}' % as_json(identifier) if identifier else b"}]}")
        return b"".join(pieces)

    def _before(self, model: tuple[str, str], number: int, array: Array) -> bytes:
        """The text between the numbers of the output before this one and its own."""
        tensor = self.wanted[number].tensor
        output = as_json({"name": tensor.name, "datatype": tensor.datatype, "shape": list(array.shape), "data": []})
        if number:
            return b"}," + output[:-3]
        start = as_json({"model_name": model[0], "model_version": model[1], "outputs": []})
        return start[:-2] + output[:-3]

    def _keep(self, key: tuple[Any, ...], text: bytes) -> bytes:
        if len(self._texts) >= _KEPT:
            self._texts.clear()
        self._texts[key] = text
        return text

    def _described(
        self, model: tuple[str, str], identifier: str | None, results: list[Array]
    ) -> tuple[dict[str, Any], list[Buffer]]:
        """The answer's JSON, and the binary data behind it."""
        outputs: list[dict[str, Any]] = []
        parts: list[Buffer] = []
        for wanted, array in zip(self.wanted, results, strict=True):
            datatype = wanted.tensor.datatype
            if wanted.picked is not None:
                array, datatype = wanted.picked(array), "BYTES"
            output: dict[str, Any] = {"name": wanted.tensor.name, "datatype": datatype, "shape": list(array.shape)}
            if wanted.binary:
                content = to_binary(datatype, array)
                output["parameters"] = {"binary_data_size": len(content)}
                parts.append(content)
            else:
                output["data"] = to_json(array)
            outputs.append(output)
        answer = {"model_name": model[0], "model_version": model[1], "outputs": outputs}
        return {**answer, "id": identifier} if identifier else answer, parts


def _numbers(array: Array) -> bytes:
    """The same as ``as_json(to_json(array))``, which it is but for a few finite floats."""
    if array.dtype.kind == "f" and array.size <= _FEW:
        text = orjson.dumps(array.ravel().tolist())
        if b"null" not in text:
            return text
    return as_json(to_json(array))
