"""Where the bytes of a file lie on this machine: in a file of their own, in pieces of others, or compressed in an
archive.

A chunk of weights is pieces of the model's own files, and a large library stays in its wheel; both become a layer
without being written down first.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of the file at ``path`` from ``offset``; zeros where there is no path."""

    path: Path | None
    offset: int
    length: int

    def to_json(self) -> list[object]:
        return [str(self.path) if self.path else None, self.offset, self.length]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Piece:
        return cls(Path(value[0]) if value[0] else None, int(value[1]), int(value[2]))


@dataclass(frozen=True, slots=True)
class Deflated:
    """``stored`` bytes of the file at ``path`` from ``offset``: a DEFLATE stream (RFC 1951) of ``length`` bytes with
    the checksum ``crc`` (CRC-32, as in a zip and a gzip member)."""

    path: Path
    offset: int
    stored: int
    length: int
    crc: int

    def chunks(self) -> Iterator[bytes]:
        """As they lie there. Fewer where the file was cut off."""
        with self.path.open("rb") as stream:
            stream.seek(self.offset)
            left = self.stored
            while left and (chunk := stream.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk


Content = Path | tuple[Piece, ...] | Deflated


def open_content(content: Content) -> IO[bytes]:
    """A stream of the bytes; a file that was cut off since gives fewer of them (who reads checks the digest)."""
    if isinstance(content, Path):
        return content.open("rb")
    return DeflatedReader(content) if isinstance(content, Deflated) else io.BufferedReader(_Pieces(content), _CHUNK)


class DeflatedReader(io.BufferedReader):
    """The bytes of ``deflated``; who copies them into another gzip may take them as they are."""

    def __init__(self, deflated: Deflated) -> None:
        super().__init__(_Inflated(inflated(deflated.chunks())), _CHUNK)
        self.deflated = deflated


def inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What a raw DEFLATE stream gives, a bounded piece at a time; nothing more from where it is broken."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            rest = chunk
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
        while not inflater.eof and (out := inflater.decompress(inflater.unconsumed_tail, _CHUNK)):
            yield out
    except zlib.error:
        return


class _Inflated(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def content_size(pieces: Sequence[Piece]) -> int:
    return sum(piece.length for piece in pieces)


class _Pieces(io.RawIOBase):
    """The pieces one after the other; one file is open at a time."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = list(reversed(pieces))
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        self._left = 0
        self._zeros = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        while not self._left:
            if not self._pieces:
                return 0
            self._begin(self._pieces.pop())
        view = view[: self._left]
        if self._zeros or self._file is None:
            view[:] = bytes(len(view))
            count = len(view)
        else:
            count = self._file.readinto(view)  # type: ignore[attr-defined]  # an unbuffered file
        if count:
            self._left -= count
        else:  # the file ended too early: so does the stream
            self._pieces.clear()
            self._left = 0
        return int(count)

    def _begin(self, piece: Piece) -> None:
        self._left, self._zeros = piece.length, piece.path is None
        if piece.path is None:
            return
        if piece.path != self._path or self._file is None:
            self._close_file()
            self._file, self._path = piece.path.open("rb", buffering=0), piece.path
        self._file.seek(piece.offset)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        self._close_file()
        super().close()
