"""Opens a pickle as joblib would: plain, or compressed by zlib, gzip, bz2, lzma or xz, told apart by the first bytes.

Decompression is counted and capped, so that a small file cannot become a machine full of zeros.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from builder.formats.joblib_pickles import read_joblib
from builder.formats.pickles import PickleReport, UnreadablePickle

_MAX_BYTES = 64 << 30
_MAX_READ = 2 << 30
_CHUNK = 1 << 18


def report_of(file: BinaryIO) -> PickleReport:
    """What joblib.load would name and call. Raises UnreadablePickle."""
    with open_pickle(file) as stream:
        return read_joblib(stream)


@contextmanager
def open_pickle(file: BinaryIO) -> Iterator[BinaryIO]:
    """The opcodes of a pickle file. Raises UnreadablePickle where it cannot be decompressed, then or while reading."""
    head = file.read(6)
    file.seek(0)
    try:
        yield _Counted(_decompressed(file, head))  # type: ignore[misc]
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UnreadablePickle(str(error)) from error


def _decompressed(file: BinaryIO, head: bytes) -> BinaryIO:
    """By joblib's own magic numbers and in its order (joblib/numpy_pickle_utils.py, compressor.py)."""
    if head.startswith(b"\x78"):
        return io.BufferedReader(_Zlib(file))
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if head.startswith(b"BZ"):
        return bz2.BZ2File(file)  # type: ignore[return-value]
    if head.startswith((b"\x5d\x00", b"\xfd7zXZ")):
        return lzma.LZMAFile(file)  # type: ignore[return-value]
    if head.startswith((b"\x04\x22\x4d\x18", b"ZF")):
        raise UnreadablePickle("it is compressed by lz4, or written by a joblib older than 0.10; save it again")
    return file


class _Zlib(io.RawIOBase):
    """A zlib stream, and nothing behind it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._zlib = file, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._zlib.eof:
            block = self._zlib.unconsumed_tail or self._file.read(_CHUNK)
            if not block:
                raise UnreadablePickle("it is cut off")
            got = self._zlib.decompress(block, len(buffer))
            if got:
                buffer[: len(got)] = got
                return len(got)
        if self._zlib.unused_data or self._file.read(1):
            raise UnreadablePickle("something follows its compressed stream")
        return 0


class _Counted:
    """What pickletools needs of a file, with a position that counts decompressed bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._position = stream, 0

    def read(self, length: int) -> bytes:
        if length > _MAX_READ:
            raise UnreadablePickle(f"a single value of {length} bytes")
        return self._count(self._stream.read(length))

    def readline(self) -> bytes:
        return self._count(self._stream.readline(1 << 16))

    def tell(self) -> int:
        return self._position

    def _count(self, got: bytes) -> bytes:
        self._position += len(got)
        if self._position > _MAX_BYTES:
            raise UnreadablePickle(f"it unpacks to more than {_MAX_BYTES} bytes")
        return got
