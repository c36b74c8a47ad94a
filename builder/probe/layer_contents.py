"""What one layer holds, read in one pass over its tar (image-spec layer.md)."""

from __future__ import annotations

import base64
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from builder.elf import MAGIC, ElfFacts, read_elf
from builder.errors import IntegrityError
from builder.host.fs import seekable
from builder.oci.descriptor import Descriptor
from builder.oci.entry import EntryKind
from builder.oci.layout import Layout
from builder.oci.tar_reader import OPAQUE, WHITEOUT, open_tar, safe_path
from builder.oci.verify import uncompressed

REVISION = 4
"""Bumped by hand when ``to_json`` or what is read changes."""

_KEPT = re.compile(
    r"/models/[^/]+/(mbuild\.json|golden/[^/]+\.npz)|/etc/ld\.so\.(cache|conf(\.d/[^/]+\.conf)?)|/opt/mbuild/gpu\.json"
    r"|/var/lib/dpkg/(status|status\.d/[^/]+|info/[^/]+\.list)|.*\.dist-info/(METADATA|RECORD)"
)
_MOST_KEPT = 256 << 20
_CHUNK = 1 << 20
_ROOT = PurePosixPath("/")
_KINDS = {tarfile.DIRTYPE: EntryKind.DIRECTORY, tarfile.SYMTYPE: EntryKind.SYMLINK}


class OversizedFile(IntegrityError):
    code = "oversized-file"
    message = "{path} in the image has {size} bytes, more than the {limit} that are read into memory"
    hint = "golden cases travel in the image; use smaller ones"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFile:
    """One path; a hard link is a file, of no bytes of its own."""

    path: PurePosixPath
    kind: EntryKind
    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    size: int = 0
    elf: ElfFacts | None = None

    def to_json(self) -> dict[str, object]:
        elf = self.elf.to_json() if self.elf else None
        owner = [self.uid, self.gid]
        return {"path": str(self.path), "kind": self.kind.value, "mode": self.mode, "owner": owner,
                "target": self.target, "size": self.size, "elf": elf}  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerFile:
        return cls(
            path=PurePosixPath(value["path"]),
            kind=EntryKind(value["kind"]),
            mode=value["mode"],
            uid=value["owner"][0],
            gid=value["owner"][1],
            target=value["target"],
            size=value["size"],
            elf=ElfFacts.from_json(value["elf"]) if value["elf"] else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerContents:
    """``files`` in the order of the tar; ``hidden`` paths of lower layers are gone, directories in ``emptied`` lose
    what lower layers put into them; ``kept`` the bytes of the few files that a probe reads."""

    files: tuple[LayerFile, ...]
    hidden: tuple[PurePosixPath, ...]
    emptied: tuple[PurePosixPath, ...]
    kept: Mapping[PurePosixPath, bytes]

    def to_json(self) -> dict[str, object]:
        return {
            "files": [file.to_json() for file in self.files],
            "hidden": [str(path) for path in self.hidden],
            "emptied": [str(path) for path in self.emptied],
            "kept": {str(path): base64.b64encode(raw).decode() for path, raw in self.kept.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerContents:
        """The inverse of ``to_json``."""
        return cls(
            files=tuple(LayerFile.from_json(file) for file in value["files"]),
            hidden=tuple(PurePosixPath(path) for path in value["hidden"]),
            emptied=tuple(PurePosixPath(path) for path in value["emptied"]),
            kept={PurePosixPath(path): base64.b64decode(raw) for path, raw in value["kept"].items()},
        )


def read_layer(layout: Layout, layer: Descriptor, scratch: Path) -> LayerContents:
    """Read a layer to its end; a large library is put into ``scratch`` while it is looked at. Raises WrongBytes,
    UnreadableLayer, UnsafeLayer, OversizedFile or DiskFull."""
    files: dict[PurePosixPath, LayerFile] = {}
    kept: dict[PurePosixPath, bytes] = {}
    hidden, emptied = [], []
    chunks = uncompressed(layout.read_blob(layer), layer.media_type)
    with open_tar(chunks) as archive:
        for member in archive:
            path = _ROOT / safe_path(member.name, layer.digest)
            if path.name == OPAQUE:
                emptied.append(path.parent)
            elif path.name.startswith(WHITEOUT):
                hidden.append(path.with_name(path.name.removeprefix(WHITEOUT)))
            elif member.isdir() or member.issym() or member.islnk() or member.isreg():
                elf = None
                if member.isreg() and _KEPT.fullmatch(str(path)):
                    kept[path] = _content(archive, member, path)
                else:
                    elf = _linked_elf(member, files) if member.islnk() else _elf(archive, member, scratch)
                files[path] = _file(member, path, elf)
    for _ in chunks:  # to the end, where the digest is checked
        pass
    return LayerContents(files=tuple(files.values()), hidden=tuple(hidden), emptied=tuple(emptied), kept=kept)


def _file(member: tarfile.TarInfo, path: PurePosixPath, elf: ElfFacts | None) -> LayerFile:
    return LayerFile(
        path=path,
        kind=_KINDS.get(member.type, EntryKind.FILE),
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        target=member.linkname if member.issym() else "",
        size=member.size if member.isreg() else 0,
        elf=elf,
    )


def _linked_elf(member: tarfile.TarInfo, files: Mapping[PurePosixPath, LayerFile]) -> ElfFacts | None:
    linked = files.get(_ROOT / member.linkname)
    return linked.elf if linked else None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: PurePosixPath) -> bytes:
    if member.size > _MOST_KEPT:
        raise OversizedFile(path=path, size=member.size, limit=_MOST_KEPT)
    stream = archive.extractfile(member)
    return stream.read() if stream else b""


def _elf(archive: tarfile.TarFile, member: tarfile.TarInfo, scratch: Path) -> ElfFacts | None:
    """The facts of an ELF file; of any other only the first bytes are read."""
    stream = archive.extractfile(member) if member.isreg() else None
    start = stream.read(len(MAGIC)) if stream else b""
    if stream is None or start != MAGIC:
        return None
    chunks = chain((start,), iter(lambda: stream.read(_CHUNK), b""))
    with seekable(chunks, member.size, scratch) as file:
        return read_elf(file)
