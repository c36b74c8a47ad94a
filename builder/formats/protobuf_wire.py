"""Reads fields of a protobuf message without its definition (protobuf.dev, encoding)."""

from __future__ import annotations

from collections.abc import Iterator


def text_of(content: memoryview) -> str:
    return bytes(content).decode(errors="replace")


def one_of(content: memoryview, number: int) -> memoryview:
    """The last such field, as protobuf reads a field that is not repeated; empty where there is none."""
    return ([memoryview(b""), *all_of(content, number)])[-1]


def all_of(content: memoryview, number: int) -> Iterator[memoryview]:
    """The fields of that number that have a length: messages, texts, bytes."""
    return (value for found, value in _fields(content) if found == number and isinstance(value, memoryview))


def number_of(content: memoryview, number: int) -> int:
    """The last such field that is a varint; 0 where there is none."""
    return ((0, *numbers_of(content, number)))[-1]


def numbers_of(content: memoryview, number: int) -> tuple[int, ...]:
    """The fields of that number that are varints, not packed."""
    return tuple(value for found, value in _fields(content) if found == number and isinstance(value, int))


_SIZES = {1: 8, 5: 4}


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        if key & 7 == 2:
            length, place = _varint(content, place)
            if place + length > len(content):
                raise ValueError("it is cut off")
            yield key >> 3, content[place : place + length]
            place += length
        elif key & 7 == 0:
            value, place = _varint(content, place)
            yield key >> 3, value
        elif key & 7 in _SIZES:
            place += _SIZES[key & 7]
        else:
            raise ValueError("it is no protobuf")


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it is no protobuf")
