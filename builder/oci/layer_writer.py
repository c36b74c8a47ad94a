"""Writes a layer (image-spec layer.md): a tar of entries, stored plain or as gzip, in one pass and in flat memory.

The bytes depend on the entries and the compression only: entries are sorted, headers are our own (``builder.oci.tar``),
and gzip is libdeflate's, because zlib's output differs between machines. gzip is written as members of fixed pieces one
after the other (RFC 1952, 2.2), which every reader of gzip joins. So a file that lies compressed in an archive can be a
member as it is: a gigabyte of libraries out of wheels is not compressed a second time.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import IO, Protocol, runtime_checkable

import deflate

from builder.errors import IntegrityError
from builder.oci import tar
from builder.oci.content import Deflated, DeflatedReader, inflated
from builder.oci.descriptor import LAYER_GZIP, LAYER_TAR, Descriptor
from builder.oci.digest import Digest
from builder.oci.entry import FileEntry

REVISION = 1
"""Bumped by hand when the same entries would give other bytes."""

CHUNK = 1 << 20
_PIECE = 16 << 20
_LEVEL = 9
_MEMBER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
"""The head of a gzip member (RFC 1952, 2.3): DEFLATE, no name, no time, from an unknown system."""


class Compression(StrEnum):
    """How a layer is stored: plain tar (weights do not compress), gzip (every engine reads it), or gzip that takes over
    what is compressed already."""

    NONE = "none"
    GZIP = "gzip"
    GZIP_REUSED = "gzip-reused"

    @property
    def writer(self) -> str:
        """Names everything besides the entries that decides a layer's bytes; for keys and locks."""
        name = f"layer-writer-{REVISION}"
        return name if self is Compression.NONE else f"{name}+libdeflate-{deflate.__version__}-{_LEVEL}"


class ChangedFile(IntegrityError):
    code = "changed-file"
    message = "the bytes staged for {path} are not those planned: {difference}"
    hint = "a file changed while the image was built, or the cache is damaged (`mbuild cache verify`); build again"


class RepeatedPath(IntegrityError):
    code = "repeated-path"
    message = "a layer names {path} twice"
    hint = "this is a bug in what planned the layer; please report it"


class Writable(Protocol):
    """Where bytes go: a file, or a writer of the store."""

    def write(self, chunk: bytes, /) -> object: ...


@runtime_checkable
class Hashing(Protocol):
    """A writer that knows the digest and the size of all that was written to it."""

    @property
    def digest(self) -> Digest: ...

    @property
    def size(self) -> int: ...

    def write(self, chunk: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class WrittenLayer:
    """``descriptor`` of the stored bytes, ``diff_id`` of the tar."""

    descriptor: Descriptor
    diff_id: Digest


def write_layer(
    entries: Iterable[FileEntry],
    open_file: Callable[[Digest], IO[bytes]],
    compression: Compression,
    out: Writable,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> WrittenLayer:
    """Write the layer of ``entries`` to ``out``; ``on_bytes`` hears how many bytes of files were read since last time.

    Raises ChangedFile when a file has not the digest and size of its entry (what was written is then worthless) and
    RepeatedPath for two entries of one path.
    """
    stream = _stream(compression, out)
    previous: PurePosixPath | None = None
    for entry in sorted(entries, key=lambda entry: entry.path.parts):
        if entry.path == previous:
            raise RepeatedPath(path=entry.path)
        previous = entry.path
        stream.write(tar.header(entry))
        if entry.digest is not None:
            with open_file(entry.digest) as source:
                if compression is Compression.GZIP_REUSED and isinstance(source, DeflatedReader):
                    _check_file(entry, stream.take(source.deflated), on_bytes)
                else:
                    _check_file(entry, _copied(source, stream), on_bytes)
            stream.write(tar.padding(entry.size))
    stream.write(tar.END)
    return stream.finish()


def write_file_layer(
    entry: FileEntry, source: IO[bytes], out: Writable, on_bytes: Callable[[int], None] = lambda _: None
) -> tuple[WrittenLayer, Digest]:
    """Write the plain layer of one file whose digest nobody knows yet, reading it once; the layer and that digest (the
    one in ``entry`` is not looked at, its size is). Raises ChangedFile where the file has another size."""
    stream, hasher, left = _PlainStream(out), hashlib.sha256(), entry.size
    stream.write(tar.header(entry))
    while left > 0 and (chunk := source.read(min(CHUNK, left))):
        left -= len(chunk)
        hasher.update(chunk)
        stream.write(chunk)
        on_bytes(len(chunk))
    if left:
        raise ChangedFile(path=entry.path, difference=f"{left} bytes are missing")
    stream.write(tar.padding(entry.size))
    stream.write(tar.END)
    return stream.finish(), Digest.from_hex(hasher.hexdigest())


def read_file_layer(entry: FileEntry, open_file: Callable[[Digest], IO[bytes]]) -> Iterator[bytes]:
    """The plain layer of one file as ``write_file_layer`` writes it, made while it is read. Raises ChangedFile at the
    file's end where it is not the one of ``entry``."""
    yield tar.header(entry)
    hasher, left = hashlib.sha256(), entry.size
    if entry.digest is not None:
        with open_file(entry.digest) as source:
            while left > 0 and (chunk := source.read(min(CHUNK, left))):
                left -= len(chunk)
                hasher.update(chunk)
                yield chunk
    actual = Digest.from_hex(hasher.hexdigest())
    if left or actual != entry.digest:
        raise ChangedFile(path=entry.path, difference=f"{actual} instead of {entry.digest}")
    yield tar.padding(entry.size)
    yield tar.END


def store_tar(chunks: Iterable[bytes], compression: Compression, out: Writable) -> WrittenLayer:
    """Write a tar that somebody else made, byte for byte, as a layer to ``out``."""
    stream = _stream(compression, out)
    for chunk in chunks:
        stream.write(chunk)
    return stream.finish()


def _copied(source: IO[bytes], stream: Writable) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
        stream.write(chunk)


def _check_file(entry: FileEntry, chunks: Iterator[bytes], on_bytes: Callable[[int], None]) -> None:
    """Draw all of a file's bytes through; raises ChangedFile where they are not those of ``entry``."""
    hasher, left = hashlib.sha256(), entry.size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        hasher.update(chunk)
        on_bytes(len(chunk))
    if left:
        raise ChangedFile(path=entry.path, difference="it is longer" if left < 0 else f"{left} bytes are missing")
    if entry.digest is None or hasher.hexdigest() != entry.digest.hex:
        raise ChangedFile(path=entry.path, difference=f"sha256:{hasher.hexdigest()} instead of {entry.digest}")


def _stream(compression: Compression, out: Writable) -> _PlainStream | _GzipStream:
    return _PlainStream(out) if compression is Compression.NONE else _GzipStream(out)


def _hashing(out: Writable) -> Hashing:
    """``out`` itself where it hashes what it takes (hashing weights twice is the most costly thing to do here)."""
    return out if isinstance(out, Hashing) and out.size == 0 else _Hashed(out)


class _Hashed:
    """Counts and hashes what goes to ``out``."""

    def __init__(self, out: Writable) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes, /) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)
        self._out.write(chunk)

    @property
    def digest(self) -> Digest:
        return Digest.from_hex(self._hash.hexdigest())


class _PlainStream:
    """Passes the tar on; stored bytes and tar are the same."""

    def __init__(self, out: Writable) -> None:
        self._stored = _hashing(out)

    def write(self, chunk: bytes, /) -> None:
        self._stored.write(chunk)

    def take(self, deflated: Deflated) -> Iterator[bytes]:
        """A plain tar has nothing that is compressed."""
        for chunk in inflated(deflated.chunks()):
            yield chunk
            self.write(chunk)

    def finish(self) -> WrittenLayer:
        digest = self._stored.digest
        return WrittenLayer(Descriptor(media_type=LAYER_TAR, digest=digest, size=self._stored.size), digest)


class _GzipStream:
    """Hashes the tar, and passes it on as gzip members of ``_PIECE`` bytes of tar each."""

    def __init__(self, out: Writable) -> None:
        self._stored = _hashing(out)
        self._hash = hashlib.sha256()
        self._piece = bytearray()

    def write(self, chunk: bytes, /) -> None:
        self._hash.update(chunk)
        self._piece += chunk
        while len(self._piece) >= _PIECE:
            self._compress(_PIECE)

    def take(self, deflated: Deflated) -> Iterator[bytes]:
        """Make a member out of what is compressed already; what it holds, as it goes by."""
        if self._piece:
            self._compress(len(self._piece))
        self._stored.write(_MEMBER)
        for chunk in inflated(self._passed(deflated)):
            self._hash.update(chunk)
            yield chunk
        self._stored.write(struct.pack("<II", deflated.crc, deflated.length % (1 << 32)))

    def _passed(self, deflated: Deflated) -> Iterator[bytes]:
        for chunk in deflated.chunks():
            self._stored.write(chunk)
            yield chunk

    def _compress(self, size: int) -> None:
        self._stored.write(bytes(deflate.gzip_compress(bytes(self._piece[:size]), _LEVEL)))
        del self._piece[:size]

    def finish(self) -> WrittenLayer:
        if self._piece:
            self._compress(len(self._piece))
        stored = Descriptor(media_type=LAYER_GZIP, digest=self._stored.digest, size=self._stored.size)
        return WrittenLayer(stored, Digest.from_hex(self._hash.hexdigest()))
