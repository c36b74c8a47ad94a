"""A file of an image as a value: path, kind, mode, owner, and the digest of its bytes.

A tree of entries is content-addressed: where the bytes lie on this machine is known only to the ``StagedTree`` that
travels with the entries (see ``builder.host.trees``), never to a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import cast

from builder.oci.digest import Digest


class EntryKind(StrEnum):
    """The kinds of tar member that mbuild writes (devices, FIFOs and hard links are never needed in an image)."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One path of an image.

    ``path`` is absolute; ``mode`` holds the permission bits only (0o7777 at most); ``digest`` and ``size`` (bytes) are
    set for files, ``target`` for symlinks.
    """

    path: PurePosixPath
    kind: EntryKind
    mode: int
    uid: int = 0
    gid: int = 0
    digest: Digest | None = None
    size: int = 0
    target: str = ""

    def __post_init__(self) -> None:
        if not self.path.is_absolute() or ".." in self.path.parts:
            raise ValueError(f"an entry's path is absolute and has no ..: {self.path}")
        if (self.digest is not None) != (self.kind is EntryKind.FILE):
            raise ValueError(f"a digest goes with a file and only with a file: {self.path}")

    @classmethod
    def directory(cls, path: str | PurePosixPath, mode: int = 0o755) -> FileEntry:
        return cls(path=PurePosixPath(path), kind=EntryKind.DIRECTORY, mode=mode)

    @classmethod
    def symlink(cls, path: str | PurePosixPath, target: str) -> FileEntry:
        return cls(path=PurePosixPath(path), kind=EntryKind.SYMLINK, mode=0o777, target=target)

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = {
            "path": str(self.path),
            "kind": self.kind.value,
            "mode": f"{self.mode:04o}",
        }
        if self.uid or self.gid:
            value["owner"] = f"{self.uid}:{self.gid}"
        if self.digest:
            value |= {"digest": str(self.digest), "size": self.size}
        if self.target:
            value["target"] = self.target
        return value

    @classmethod
    def from_json(cls, value: dict[str, object]) -> FileEntry:
        """The inverse of ``to_json``. The input is our own writing, so a malformed one is a KeyError or ValueError."""
        uid, _, gid = str(value.get("owner", "0:0")).partition(":")
        digest = value.get("digest")
        return cls(
            path=PurePosixPath(str(value["path"])),
            kind=EntryKind(str(value["kind"])),
            mode=int(str(value["mode"]), 8),
            uid=int(uid),
            gid=int(gid),
            digest=Digest(str(digest)) if digest else None,
            size=cast(int, value.get("size", 0)),
            target=str(value.get("target", "")),
        )
