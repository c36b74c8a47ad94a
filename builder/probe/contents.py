"""The files of an image as its layers say: paths, modes, owners, what the ELF files need, and the few small files that
a probe reads (golden cases, the model's description). Nothing is unpacked."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.errors import IntegrityError
from builder.oci.descriptor import Descriptor
from builder.oci.entry import EntryKind
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.tar_reader import OPAQUE, WHITEOUT, open_tar, safe_path
from builder.oci.verify import uncompressed
from builder.probe.elf import MAGIC, ElfFacts, read_elf

_KEPT = re.compile(r"/models/[^/]+/(mbuild\.json|golden/[^/]+\.npz)|/etc/ld\.so\.conf(\.d/[^/]+\.conf)?|/etc/passwd")
_MOST_KEPT = 256 << 20
_MOST_LINKS = 40
_ROOT = PurePosixPath("/")


class OversizedFile(IntegrityError):
    code = "oversized-file"
    message = "{path} in the image has {size} bytes, more than the {limit} that are read into memory"
    hint = "golden cases travel in the image; use smaller ones"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """One path of the image: ``layer`` is the number of the layer that it comes from; a hard link is a file."""

    path: PurePosixPath
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    layer: int
    target: str = ""
    elf: ElfFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageContents:
    """``files`` by path; ``kept`` the bytes of the few that a probe reads."""

    files: Mapping[PurePosixPath, ImageFile]
    kept: Mapping[PurePosixPath, bytes]

    def resolve(self, path: PurePosixPath) -> ImageFile | None:
        """The file or directory at ``path``, links followed inside the image; None where there is none."""
        place, left, links = _ROOT, list(path.parts[1:]), 0
        while left:
            part = left.pop(0)
            if part in (".", ".."):
                place = place.parent if part == ".." else place
                continue
            found = self.files.get(place / part)
            if found is not None and found.kind is EntryKind.SYMLINK:
                links += 1
                if links > _MOST_LINKS:
                    return None
                target = PurePosixPath(found.target)
                left[:0] = target.parts[1:] if target.is_absolute() else target.parts
                place = _ROOT if target.is_absolute() else place
                continue
            place = place / part
        return self.files.get(place)


def read_contents(layout: Layout, manifest: Manifest) -> ImageContents:
    """Read all layers once, in order. Raises WrongBytes, UnreadableLayer, UnsafeLayer or OversizedFile."""
    reader = _Reader()
    for number, layer in enumerate(manifest.layers):
        reader.read_layer(layout, layer, number)
    return ImageContents(files=reader.files, kept=reader.kept)


def numeric_user(user: str, passwd: Path) -> tuple[int, int]:
    """uid and gid of an image's ``User`` (image-spec config.md): numbers, or a name that ``passwd`` has; a user
    without a group gets the one in ``passwd``, else 0."""
    name, _, group = user.partition(":")
    lines = [line.split(":") for line in passwd.read_text().splitlines()] if passwd.is_file() else []
    known = next((line for line in lines if len(line) > 3 and name in (line[0], line[2])), None)
    uid = int(name or 0) if not name or name.isdecimal() else int(known[2]) if known else 0
    gid = int(group) if group.isdecimal() else int(known[3]) if known else 0
    return uid, gid


class _Reader:
    def __init__(self) -> None:
        self.files: dict[PurePosixPath, ImageFile] = {}
        self.kept: dict[PurePosixPath, bytes] = {}
        self._fresh: dict[PurePosixPath, bytes] = {}

    def read_layer(self, layout: Layout, layer: Descriptor, number: int) -> None:
        chunks = uncompressed(layout.read_blob(layer), layer.media_type)
        added: dict[PurePosixPath, ImageFile] = {}
        hidden: list[tuple[PurePosixPath, bool]] = []
        self._fresh = {}
        with open_tar(chunks) as archive:
            for member in archive:
                path = _ROOT / safe_path(member.name, layer.digest)
                if path.name == OPAQUE:
                    hidden.append((path.parent, False))
                elif path.name.startswith(WHITEOUT):
                    hidden.append((path.with_name(path.name.removeprefix(WHITEOUT)), True))
                elif file := self._entry(archive, member, path, number, added):
                    added[path] = file
        for _ in chunks:  # to the end, where the digest is checked
            pass
        self._hide(hidden)
        for path, file in added.items():
            if path in self.files and file.kind is not EntryKind.DIRECTORY:
                self._hide([(path, True)])
            self.files[path] = file
        self.kept |= self._fresh

    def _entry(
        self,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        path: PurePosixPath,
        number: int,
        added: Mapping[PurePosixPath, ImageFile],
    ) -> ImageFile | None:
        kinds = {tarfile.DIRTYPE: EntryKind.DIRECTORY, tarfile.SYMTYPE: EntryKind.SYMLINK}
        kind = kinds.get(member.type, EntryKind.FILE)
        if not (kind is not EntryKind.FILE or member.isreg() or member.islnk()):
            return None
        elf = None
        if member.islnk():
            linked = added.get(_ROOT / member.linkname.lstrip("/").removeprefix("./"))
            elf = linked.elf if linked else None
        elif member.isreg():
            elf = self._read_file(archive, member, path)
        return ImageFile(
            path=path,
            kind=kind,
            mode=member.mode & 0o7777,
            uid=member.uid,
            gid=member.gid,
            layer=number,
            target=member.linkname if kind is EntryKind.SYMLINK else "",
            elf=elf,
        )

    def _read_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: PurePosixPath) -> ElfFacts | None:
        keep = _KEPT.fullmatch(str(path))
        if keep and member.size > _MOST_KEPT:
            raise OversizedFile(path=path, size=member.size, limit=_MOST_KEPT)
        stream = archive.extractfile(member)
        if stream is None:
            return None
        start = stream.read(len(MAGIC))
        if keep:
            self._fresh[path] = start + stream.read()
        if start != MAGIC:
            return None
        return read_elf(io.BytesIO(start + stream.read()))

    def _hide(self, hidden: list[tuple[PurePosixPath, bool]]) -> None:
        """Forget what is below each path, and the path itself where the flag says so."""
        for path, itself in hidden:
            gone = [other for other in self.files if path in other.parents or (itself and other == path)]
            for other in gone:
                self.files.pop(other)
                self.kept.pop(other, None)
