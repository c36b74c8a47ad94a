"""Digests of files that were hashed before: a file that nobody touched since is not read again.

A file is known by where it is and by what the file system says of it: device, inode, size, times of change of content
and of inode. One that changed so shortly before it was read that another write could leave the same times is hashed,
but not remembered (git calls such an entry "racily clean").
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from builder.canonical import content_key
from builder.host.store import Store
from builder.oci.digest import Digest

_KIND = "file-digests"
_SMALL = 1 << 20
"""Bytes up to which reading costs no more than looking up."""

_RACY_NS, _RACY_COARSE_NS = 100_000_000, 2_000_000_000
"""Clocks of file systems tick every 10 ms at most; those without fractions of a second tick every two."""


def stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(stamps: Iterable[tuple[int, ...]], now: float) -> bool:
    """Whether files with these stamps were last changed long enough before ``now`` (seconds since 1970) for any later
    write to show."""
    changes = (changed for *_, changed in stamps)
    return all(
        now * 1e9 - changed > (_RACY_COARSE_NS if changed % 1_000_000_000 == 0 else _RACY_NS) for changed in changes
    )


def remembered_digest(path: Path, store: Store, now: float) -> Digest:
    """The SHA-256 of a file, read only where it is not known. ``now`` in seconds since 1970."""
    before = stamp(path)
    if before[2] <= _SMALL:
        return Digest.of_file(path)
    key = content_key({"path": os.fspath(path.absolute()), "stamp": list(before)})
    record = store.record(_KIND, key)
    if record is not None:
        return Digest(record["digest"])
    digest = Digest.of_file(path)
    if is_settled((before,), now) and stamp(path) == before:
        store.put_record(_KIND, key, {"digest": str(digest)})
    return digest
