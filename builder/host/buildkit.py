"""Reads the progress that BuildKit sends through the Engine API (``POST /build?version=2``).

Each trace is a base64 protobuf ``StatusResponse`` (moby/buildkit ``api/services/control/control.proto``). Only three
texts of it are wanted, so the wire format is read here rather than through generated code; unknown fields are skipped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

_VERTEXES, _LOGS = 1, 3
_VERTEX_NAME, _VERTEX_CACHED, _VERTEX_STARTED, _VERTEX_COMPLETED, _VERTEX_ERROR = 3, 4, 5, 6, 7
_LOG_MESSAGE = 4


def trace_lines(encoded: str) -> Iterator[str]:
    """The lines that a person would read: steps as they start, finish cached or fail, and what they print."""
    try:
        fields = list(_fields(base64.b64decode(encoded)))
    except (ValueError, IndexError):
        return
    for number, value in fields:
        if number == _VERTEXES and isinstance(value, bytes):
            yield from _vertex_lines(value)
        elif number == _LOGS and isinstance(value, bytes):
            message = dict(_fields(value)).get(_LOG_MESSAGE, b"")
            if isinstance(message, bytes):
                yield from message.decode(errors="replace").splitlines()


def _vertex_lines(vertex: bytes) -> Iterator[str]:
    fields = dict(_fields(vertex))
    name, error = fields.get(_VERTEX_NAME), fields.get(_VERTEX_ERROR)
    text = name.decode(errors="replace") if isinstance(name, bytes) else ""
    if isinstance(error, bytes) and error:
        yield f"{text}: {error.decode(errors='replace')}"
    elif fields.get(_VERTEX_CACHED):
        yield f"{text} (cached)"
    elif _VERTEX_STARTED in fields and _VERTEX_COMPLETED not in fields:
        yield text


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (number, value) pairs of a protobuf message; raises IndexError or ValueError where it is cut short."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("the message is cut short")
        yield number, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
