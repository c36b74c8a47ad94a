"""Reads an ONNX file without its weights: the protobuf with the large ``raw_data`` of its initializers left out, and
where in the file those bytes lie.

protobuf.dev, encoding: a field is a varint of (number << 3 | wire type), then a varint, 8, 4, or length and bytes. The
numbers are those of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

LARGE = 1024
"""Bytes of ``raw_data`` from which on it is left out: smaller tensors may be shapes, which the runtime wants to see."""


class NotProtobuf(Exception):
    """The file is no protobuf of a model, or one that is written in an uncommon way."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """``model`` is the serialised ModelProto without large weights; ``raw`` has (offset, length) in the file of those,
    by the position of the initializer in the graph."""

    model: bytes
    raw: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Field:
    """``start`` of the field, ``body`` of what it holds, ``end``: offsets in the file."""

    number: int
    wire: int
    start: int
    body: int
    end: int


def read_skeleton(path: Path) -> Skeleton:
    """Raises NotProtobuf; memory and time grow with the graph, not with the weights."""
    size = path.stat().st_size
    with path.open("rb") as file:
        fields = list(_fields(file, 0, size))
        graphs = [field for field in fields if field.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].wire != _BYTES:
            raise NotProtobuf("it has no graph, or more than one")
        model, raw = bytearray(), dict[int, tuple[int, int]]()
        for field in fields:
            if field is not graphs[0]:
                model += _read(file, field.start, field.end)
                continue
            graph, raw = _graph(file, field)
            model += _length_delimited(_GRAPH, graph)
    return Skeleton(bytes(model), raw)


def _graph(file: IO[bytes], graph: _Field) -> tuple[bytes, dict[int, tuple[int, int]]]:
    out, raw, position = bytearray(), dict[int, tuple[int, int]](), 0
    for field in _fields(file, graph.body, graph.end):
        if field.number != _INITIALIZER or field.wire != _BYTES:
            out += _read(file, field.start, field.end)
            continue
        if field.end - field.body < LARGE:
            out += _read(file, field.start, field.end)
        else:
            tensor, place = _tensor(file, field)
            out += _length_delimited(_INITIALIZER, tensor)
            if place is not None:
                raw[position] = place
        position += 1
    return bytes(out), raw


def _tensor(file: IO[bytes], tensor: _Field) -> tuple[bytes, tuple[int, int] | None]:
    out, place = bytearray(), None
    for field in _fields(file, tensor.body, tensor.end):
        if field.number == _RAW_DATA and field.wire == _BYTES and field.end - field.body >= LARGE:
            if place is not None:
                raise NotProtobuf("a tensor has its data twice")
            place = field.body, field.end - field.body
        else:
            out += _read(file, field.start, field.end)
    return bytes(out), place


def _fields(file: IO[bytes], start: int, end: int) -> Iterator[_Field]:
    """The fields of the message between two offsets."""
    while start < end:
        file.seek(start)
        tag, length = _varint(file)
        body, wire = start + length, tag & 7
        if wire == _VARINT:
            stop = body + _varint(file)[1]
        elif wire == _BYTES:
            size, length = _varint(file)
            body += length
            stop = body + size
        elif wire in (_FIXED64, _FIXED32):
            stop = body + (8 if wire == _FIXED64 else 4)
        else:
            raise NotProtobuf(f"a field has the wire type {wire}")
        if stop > end:
            raise NotProtobuf("a field ends after its message")
        yield _Field(tag >> 3, wire, start, body, stop)
        start = stop


def _varint(file: IO[bytes]) -> tuple[int, int]:
    """The number and how many bytes it took."""
    value, read = 0, 0
    while True:
        byte = file.read(1)
        if not byte or read == 10:
            raise NotProtobuf("it ends within a number")
        value |= (byte[0] & 0x7F) << (7 * read)
        read += 1
        if byte[0] < 0x80:
            return value, read


def _read(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _length_delimited(number: int, body: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(body)) + body


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
