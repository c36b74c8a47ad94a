"""Where the bytes of a file lie on this machine: in a file of their own, or in pieces of others.

A chunk of weights is pieces of the model's own files; it becomes a layer without being written down first.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


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


Content = Path | tuple[Piece, ...]


def open_content(content: Content) -> IO[bytes]:
    """A stream of the bytes; a file that was cut off since gives fewer of them (who reads checks the digest)."""
    return content.open("rb") if isinstance(content, Path) else io.BufferedReader(_Pieces(content), 1 << 20)


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
