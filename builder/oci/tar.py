"""Tar headers (POSIX.1-2001 pax, the subset that an image needs), written so that they depend on the entry alone.

The standard library's headers are not used for writing: their bytes are not promised to stay, and a layer's digest is
made of them. Time is 0, names of users and groups are empty, devices do not occur.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.oci.entry import EntryKind, FileEntry

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks close an archive."""

_TYPES = {EntryKind.FILE: b"0", EntryKind.SYMLINK: b"2", EntryKind.DIRECTORY: b"5"}
_PAX = b"x"
_NAME_BYTES = 100
_MOST_SIZE = 8**11 - 1
_MOST_ID = 8**7 - 1


def padding(size: int) -> bytes:
    """The zeros that fill the last block of ``size`` bytes."""
    return bytes(-size % BLOCK)


def member_name(entry: FileEntry) -> str:
    """The entry's path as archives write it: relative, a directory with a slash at its end, the root as ``./``."""
    if entry.path == PurePosixPath("/"):
        return "./"
    name = str(entry.path).lstrip("/")
    return f"{name}/" if entry.kind is EntryKind.DIRECTORY else name


def header(entry: FileEntry) -> bytes:
    """The header block of an entry, after a pax header where a field does not fit into it."""
    name, target = member_name(entry), entry.target if entry.kind is EntryKind.SYMLINK else ""
    records = {
        "gid": str(entry.gid) if entry.gid > _MOST_ID else "",
        "linkpath": target if _needs_pax(target) else "",
        "path": name if _needs_pax(name) else "",
        "size": str(entry.size) if entry.size > _MOST_SIZE else "",
        "uid": str(entry.uid) if entry.uid > _MOST_ID else "",
    }
    extended = b"".join(_record(key, value) for key, value in sorted(records.items()) if value)
    block = _block(
        name="pax-path" if records["path"] else name,
        target="pax-target" if records["linkpath"] else target,
        kind=_TYPES[entry.kind],
        numbers=(
            entry.mode & 0o7777,
            0 if records["uid"] else entry.uid,
            0 if records["gid"] else entry.gid,
            0 if records["size"] else entry.size,
        ),
    )
    if not extended:
        return block
    pax = _block(name="pax-header", target="", kind=_PAX, numbers=(0o644, 0, 0, len(extended)))
    return pax + extended + padding(len(extended)) + block


def _needs_pax(text: str) -> bool:
    return len(text.encode()) > _NAME_BYTES or not text.isascii()


def _record(key: str, value: str) -> bytes:
    """``LENGTH KEY=VALUE\\n`` where the length counts its own digits."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest)))
    if length != len(rest) + len(str(length)):
        length += 1
    return str(length).encode() + rest


def _block(*, name: str, target: str, kind: bytes, numbers: tuple[int, int, int, int]) -> bytes:
    mode, uid, gid, size = numbers
    fields = b"".join(
        (
            name.encode().ljust(_NAME_BYTES, b"\0"),
            b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, 0),
            b" " * 8,
            kind,
            target.encode().ljust(_NAME_BYTES, b"\0"),
            b"ustar\x0000",
            bytes(64),
            b"%07o\0%07o\0" % (0, 0),
            bytes(155 + 12),
        )
    )
    checksum = b"%06o\0 " % sum(fields)
    return fields[:148] + checksum + fields[156:]
