"""A build context as an engine takes it over its API: one tar, streamed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from builder.host.fs import disk_errors


def context_chunks(context: Path) -> Iterator[bytes]:
    """The build context as a tar stream, owned by root and dated 0, so that equal contexts hit the engine's cache."""
    with disk_errors(context), tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:
        for path in sorted(context.rglob("*")):
            member = archive.gettarinfo(path, arcname=str(path.relative_to(context)))
            if member.islnk():
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.stat().st_size
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            yield member.tobuf(tarfile.PAX_FORMAT)
            if member.isreg():
                with path.open("rb") as stream:
                    yield from iter(lambda: stream.read(1 << 20), b"")
                yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
