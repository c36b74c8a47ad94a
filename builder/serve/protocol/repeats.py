"""What clients repeat: the text around their numbers. It is checked once; after that, only the numbers are read.

Numbers travel in JSON as one flat list, or behind a JSON text as Triton's binary data. In either case a text that was
accepted before says the same again. What does not fit here is decoded as if this module did not exist.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ..http.answers import Buffer
from .tensors import DTYPES, PACKED, Array, viewed

if TYPE_CHECKING:
    from .codec import InferRequest, Signature
    from .forms import Form

_KEPT = 64
_LONGEST = 2048
"""Bytes of a text: longer ones are not worth their place."""


@dataclass(frozen=True, slots=True)
class Blank:
    """A JSON text with a place for the numbers of its one input; ``pack`` writes them in the tensor's datatype."""

    before: bytes
    after: bytes
    graph_name: str
    shape: tuple[int, ...]
    dtype: Any
    count: int
    pack: Callable[..., bytes]
    form: Form
    timeout_us: int


@dataclass(frozen=True, slots=True)
class Framing:
    """Where each tensor lies in the binary data, by the graph's names; ``length`` is that of all together."""

    parts: tuple[tuple[str, Any, tuple[int, ...], int], ...]
    length: int
    size: int
    form: Form
    timeout_us: int


class Repeats:
    """Of one model. Several threads may use it at once: each step is one operation of a dict."""

    def __init__(self) -> None:
        self._blanks: dict[bytes, Blank | None] = {}
        self._framings: dict[bytes, Framing] = {}
        self.last: Blank | None = None
        """That of the last request that had one, which the next is most likely to repeat; never of a model that takes
        files, whose body may be anything."""

    def framing(self, text: bytes) -> Framing | None:
        return self._framings.get(text)

    def keep_framing(self, signature: Signature, text: bytes, request: InferRequest, length: int) -> None:
        """``request`` is what ``text`` and ``length`` bytes behind it gave."""
        tensors = [(name, DTYPES[signature.datatypes[name]], array) for name, array in request.feeds.items()]
        if request.id is not None or len(text) > _LONGEST or any(dtype.kind == "O" for _, dtype, _ in tensors):
            return
        parts, at = [], 0
        for name, dtype, array in tensors:
            parts.append((name, dtype, array.shape, at))
            at += array.nbytes
        if at == length:  # else some of the numbers were in the text
            _keep(self._framings, text, Framing(tuple(parts), length, request.size, request.form, request.timeout_us))

    def blank(self, body: bytes | bytearray) -> tuple[bytes, int, int, Blank | None] | None:
        """The text without its first list of data, where that list begins and ends, and what is known of the text."""
        start = body.find(b"[", body.find(b'"data"', 0, _LONGEST) + 1, _LONGEST)
        end = body.find(b"]", start) + 1
        if start < 0 or not end or start + len(body) - end > _LONGEST:
            return None
        text = bytes(body[:start] + b"[]" + body[end:])
        if b'"id"' in text:  # most likely another one with each request
            return None
        blank = self._blanks.get(text)
        if blank is not None:
            self.last = blank
        return text, start, end, blank

    def keep_blank(self, signature: Signature, text: bytes, start: int, request: InferRequest) -> None:
        """``request`` is what ``text`` gave, with numbers at ``start``."""
        if text in self._blanks:
            return
        blank = None
        if len(request.feeds) == 1 and _is_blank(text, start):
            ((name, array),) = request.feeds.items()
            code = PACKED.get(DTYPES[signature.datatypes[name]])
            if code is not None and code != "?":
                count = math.prod(array.shape)
                pack = struct.Struct(f"<{count}{code}").pack
                blank = Blank(
                    before=text[:start],
                    after=text[start + 2 :],
                    graph_name=name,
                    shape=array.shape,
                    dtype=array.dtype,
                    count=count,
                    pack=pack,
                    form=request.form,
                    timeout_us=request.timeout_us,
                )
        _keep(self._blanks, text, blank)


def framed(framing: Framing, content: Buffer, at: int) -> dict[str, Array]:
    """The tensors in ``content`` from ``at`` on. Raises ValueError for what is no value of its datatype."""
    return {name: viewed(dtype, shape, content, at + offset) for name, dtype, shape, offset in framing.parts}


def filled(blank: Blank, body: bytes | bytearray, start: int, end: int) -> Array | None:
    """The numbers between ``start`` and ``end``; None where they are not what the text announces."""
    numbers = body[start:end]
    if b"u" in numbers or b"s" in numbers or not numbers.startswith(b"["):
        return None  # true or false, which struct would take for 1 and 0; or no list
    try:
        return np.ndarray(blank.shape, blank.dtype, blank.pack(*orjson.loads(numbers)))
    except (ValueError, OverflowError, struct.error):
        return None


def _is_blank(text: bytes, start: int) -> bool:
    """Whether a list at ``start`` is the data of the only input, and nothing else. JSON is read from left to right:
    where one list is a whole value, every other one is."""
    try:
        empty, one = orjson.loads(text), orjson.loads(text[:start] + b"[0]" + text[start + 2 :])
        if empty["inputs"][0]["data"] != []:
            return False
        empty["inputs"][0]["data"] = [0]
    except (ValueError, LookupError, TypeError):
        return False
    return bool(empty == one)


def _keep(kept: dict[bytes, Any], text: bytes, value: object) -> None:
    if len(kept) >= _KEPT:
        kept.clear()
    kept[text] = value
