"""Knows whether a directory of the store is still as it was made.

Its *seal* lists its files with size, time of change and SHA-256. Looking costs one ``stat`` a file; only a file of
another time is read. What is not listed (a cache that a program wrote beside its files) does not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import canonical_json

_DIGEST = re.compile("[0-9a-f]{64}")
_SEALED_BLOB_NS = 1_000_000_000
"""The time of change of every blob, so that any later write to it shows. One second after 1970, as Nix does it."""


@dataclass(frozen=True, slots=True)
class Seal:
    """``files``: path below the directory, and (size, time of change in ns, SHA-256 in hex or a link's target)."""

    files: dict[str, tuple[int, int, str]]

    @classmethod
    def of(cls, directory: Path) -> Seal:
        """The seal of a directory that was just made. A file named by its digest was hashed as it was written."""
        files = {}
        for name, status in _walk(directory, ""):
            path = directory / name
            named = _DIGEST.fullmatch(path.name) and not path.is_symlink()
            content = path.name if named else _content(path)
            files[name] = (status.st_size, status.st_mtime_ns, content)
        return cls(files)

    def to_bytes(self) -> bytes:
        body = canonical_json(self.files)
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def read(cls, path: Path) -> Seal | None:
        """None where there is no seal, or one that is damaged itself."""
        try:
            digest, _, body = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        return cls({name: tuple(facts) for name, facts in json.loads(body).items()})

    def holds(self, directory: Path) -> bool:
        """Whether every file is there and unchanged, by its time of change or else by its content."""
        return all(_unchanged(f"{directory}/{name}", *facts) for name, facts in self.files.items())

    def verified(self, directory: Path) -> bool:
        """The same, but every file is read."""
        return all(_same_content(directory / name, facts[2]) for name, facts in self.files.items())


def seal_blob(path: Path) -> None:
    """Mark a blob as whole, before it is put in its place. Its time of access stays: it says when it was last used."""
    os.utime(path, ns=(path.stat().st_atime_ns, _SEALED_BLOB_NS))


def is_sealed(path: Path) -> bool:
    """Whether nothing was written to a blob since it was marked. Raises FileNotFoundError."""
    return path.stat().st_mtime_ns == _SEALED_BLOB_NS


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unchanged(path: str, size: int, modified: int, content: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_size == size and (status.st_mtime_ns == modified or _same_content(Path(path), content))


def _same_content(path: Path, content: str) -> bool:
    try:
        return _content(path) == content
    except OSError:
        return False


def _content(path: Path) -> str:
    return str(path.readlink()) if path.is_symlink() else file_hash(path)


def _walk(directory: Path, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    """Files and links below ``directory``, with what the file system says of them."""
    with os.scandir(directory / prefix) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(directory, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)
