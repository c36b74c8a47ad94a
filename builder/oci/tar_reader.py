"""Reading the tar of a layer as a stream: broken archives and paths that lead out of the image are refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from builder.errors import IntegrityError
from builder.oci.digest import Digest
from builder.oci.verify import UnreadableLayer

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class UnsafeLayer(IntegrityError):
    code = "unsafe-layer"
    message = "the layer {digest} holds {path!r}, {reason}"
    hint = "do not unpack or run this image; build it again from sources that you trust"


@contextmanager
def open_tar(chunks: Iterable[bytes]) -> Iterator[tarfile.TarFile]:
    """The archive in ``chunks``, to be read once and in order; raises UnreadableLayer where it is not one."""
    try:
        with tarfile.open(fileobj=ChunkReader(chunks), mode="r|", bufsize=1 << 20) as archive:
            yield archive
    except tarfile.TarError as error:
        raise UnreadableLayer(reason=f"its tar is broken ({error})") from error


def safe_path(name: str, layer: Digest) -> PurePosixPath:
    """A member's path relative to the root; raises UnsafeLayer for one that leads out of it."""
    path = PurePosixPath(name)
    if ".." in path.parts or "\0" in name:
        raise UnsafeLayer(digest=layer, path=name, reason="which leads out of the image")
    return PurePosixPath(*path.parts[1:]) if path.is_absolute() else path


class ChunkReader(io.RawIOBase):
    """A readable file over chunks, for the standard library's tar reader."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
