"""Attributes of an HDF5 file's root group, read without libhdf5 (HDF5 File Format Specification 3.0: II, III.E, IV.A).

Keras keeps what its .h5 files say of themselves there, as scalar strings. Read are superblocks 0 to 3, object headers 1
and 2, fixed and variable-length strings. Refused (UnreadableHdf5): what is cut off, shared messages, and attributes in
a fractal heap, where h5py puts them only if there are more than eight or on demand.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_CONTINUATION, _ATTRIBUTE, _ATTRIBUTE_INFO = 0x10, 0x0C, 0x15
_UNDEFINED = (1 << 64) - 1
_MOST_BYTES = 256 << 20
_MOST_BLOCKS = 1000


class UnreadableHdf5(Exception):
    """Says what is not as it should be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file with addresses and lengths of eight bytes, which is what all of today's machines write."""

    stream: BinaryIO

    def at(self, address: int, length: int) -> bytes:
        if length > _MOST_BYTES:
            raise UnreadableHdf5(f"a part of {length} bytes")
        self.stream.seek(address)
        content = self.stream.read(length)
        if len(content) < length:
            raise UnreadableHdf5("it is cut off")
        return content

    def number(self, address: int, width: int = 8) -> int:
        return int.from_bytes(self.at(address, width), "little")


def root_attributes(stream: BinaryIO) -> dict[str, str]:
    """The scalar text attributes of the root group; others are left out. Raises UnreadableHdf5."""
    try:
        file = _File(stream=stream)
        found: dict[str, str] = {}
        for body in _attributes(file, _root_header(file)):
            name, text = _attribute(file, body)
            if name in found:
                raise UnreadableHdf5(f"it has two attributes {name}")
            if text is not None:
                found[name] = text
        return found
    except (struct.error, IndexError, OverflowError, OSError) as error:
        raise UnreadableHdf5(f"its header is not as HDF5 writes it ({error})") from error


def _root_header(file: _File) -> int:
    """The address of the root group's object header."""
    start = file.at(0, 16)
    version = start[8]
    sizes, address = ((start[13], start[14]), 0x40 + 4 * (version == 1)) if version < 2 else ((start[9], start[10]), 36)
    if version > 3 or sizes != (8, 8):
        raise UnreadableHdf5(f"its superblock has version {version} and sizes {sizes}")
    return file.number(address)


def _attributes(file: _File, address: int) -> Iterator[bytes]:
    """The bodies of the attribute messages of an object header."""
    is_new = file.at(address, 4) == b"OHDR"
    blocks = [_first_block(file, address, is_new)]
    order = is_new and file.number(address + 5, 1) & 4
    for number, (start, length) in enumerate(blocks):
        if number > _MOST_BLOCKS:
            raise UnreadableHdf5("its header has no end")
        for kind, flags, body in _messages(file.at(start, length), is_new, 2 if order else 0):
            if kind == _CONTINUATION:
                where, size = struct.unpack_from("<QQ", body)
                blocks.append((where + 4, size - 8) if is_new else (where, size))  # OCHK before, a checksum after
            elif kind == _ATTRIBUTE and flags & 2:
                raise UnreadableHdf5("it shares attributes between objects")
            elif kind == _ATTRIBUTE:
                yield body
            elif kind == _ATTRIBUTE_INFO:
                _require_compact(body)


def _first_block(file: _File, address: int, is_new: bool) -> tuple[int, int]:
    if not is_new:
        return address + 16, file.number(address + 8, 4)
    flags = file.number(address + 5, 1)
    sized = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    return sized + width, file.number(sized, width)


def _messages(block: bytes, is_new: bool, order: int) -> Iterator[tuple[int, int, bytes]]:
    """(kind, flags, body) of each."""
    head = 4 + order if is_new else 8
    place = 0
    while place + head <= len(block):
        kind, size, flags = struct.unpack_from("<BHB" if is_new else "<HHB", block, place)
        body = block[place + head : place + head + size]
        if len(body) < size:
            raise UnreadableHdf5("a message is longer than its block")
        yield kind, flags, body
        place += head + size


def _require_compact(body: bytes) -> None:
    """Raise where the attributes are not in the header itself."""
    (heap,) = struct.unpack_from("<Q", body, 4 if body[1] & 1 else 2)
    if heap != _UNDEFINED:
        raise UnreadableHdf5("it keeps its attributes apart from the header")


def _attribute(file: _File, body: bytes) -> tuple[str, str | None]:
    """The name, and the text where it is one."""
    version, flags, *sizes = struct.unpack_from("<BBHHH", body)
    if version not in (1, 2, 3) or (version > 1 and flags & 1):
        raise UnreadableHdf5(f"an attribute has version {version} and flags {flags}")
    step = 8 if version == 1 else 1
    start = 9 if version == 3 else 8
    parts = []
    for size in sizes:
        parts.append(body[start : start + size])
        start += -(-size // step) * step
    name, datatype = parts[0].rstrip(b"\0").decode(errors="replace"), parts[1]
    return name, _text(file, datatype, body[start:])


def _text(file: _File, datatype: bytes, value: bytes) -> str | None:
    """Classes of datatypes: 3 is a string of fixed size, 9 of variable length, where type 1 is a string."""
    kind, variable = datatype[0] & 0x0F, datatype[1] & 0x0F
    if kind == 3:
        (size,) = struct.unpack_from("<I", datatype, 4)
        return value[:size].rstrip(b"\0").decode(errors="replace")
    if kind == 9 and variable == 1:
        length, heap, index = struct.unpack_from("<IQI", value)
        return _heap_object(file, heap, index)[:length].decode(errors="replace")
    return None


def _heap_object(file: _File, address: int, wanted: int) -> bytes:
    """An object of a global heap collection."""
    if file.at(address, 4) != b"GCOL":
        raise UnreadableHdf5("a text is not where it should be")
    end, place = address + file.number(address + 8), address + 16
    while place + 16 <= end:
        index, size = file.number(place, 2), file.number(place + 8)
        if index == wanted:
            return file.at(place + 16, size)
        if index == 0:
            break
        place += 16 + -(-size // 8) * 8
    raise UnreadableHdf5("a text is missing")
