"""Reads a Debian package file: an ``ar`` archive of ``debian-binary``, ``control.tar*`` and ``data.tar*`` (deb(5)).

Nothing of it is executed: maintainer scripts are left where they are. Hard links become copies, ownership and special
permission bits are dropped, and a path that leaves the root is refused.
"""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.errors import IntegrityError
from builder.oci.entry import EntryKind

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_COMPRESSIONS = ("", ".gz", ".xz", ".bz2", ".lzma")
_MERGED = ("bin", "lib", "lib64", "sbin")


class DamagedPackage(IntegrityError):
    code = "damaged-package"
    message = "{package} is not a Debian package that mbuild can read: {reason}"
    hint = "run the command again with an empty cache; if it stays so, lock the base anew with `mbuild base lock`"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedFile:
    """One member of a package's tree: ``content`` for files, ``target`` for links. ``mode`` has no special bits."""

    path: PurePosixPath
    kind: EntryKind
    mode: int
    content: bytes = b""
    target: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageFile:
    """An opened package: its control stanza, the md5sums of its files as they were packaged, and its tree."""

    name: str
    control: str
    md5sums: str
    _tree: bytes

    def files(self) -> Iterator[PackagedFile]:
        """The files, directories and links of the package, in its order."""
        try:
            with tarfile.open(fileobj=io.BytesIO(self._tree)) as tree:
                for member in tree:
                    if (found := _packaged(tree, member, self.name)) is not None:
                        yield found
        except (tarfile.TarError, lzma.LZMAError, EOFError, KeyError) as error:
            raise DamagedPackage(package=self.name, reason=error) from error


def open_package(content: bytes, name: str) -> PackageFile:
    """Read the outer archive and the control member. Raises DamagedPackage."""
    members = dict(read_ar(content, name))
    control = _member(members, "control.tar", name)
    texts = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(control)) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    texts[PurePosixPath(member.name).name] = stream.read()
        fields = texts["control"].decode()
    except (tarfile.TarError, lzma.LZMAError, EOFError, KeyError, UnicodeDecodeError) as error:
        raise DamagedPackage(package=name, reason=error) from error
    md5sums = texts.get("md5sums", b"").decode(errors="replace")
    return PackageFile(name=name, control=fields, md5sums=md5sums, _tree=_member(members, "data.tar", name))


def read_ar(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The members of an ``ar`` archive (ar(5), common format). Raises DamagedPackage."""
    if not content.startswith(_AR_MAGIC):
        raise DamagedPackage(package=name, reason="it is not an ar archive")
    position = len(_AR_MAGIC)
    while position < len(content):
        header = content[position : position + _AR_HEADER]
        size = header[48:58].strip()
        if len(header) < _AR_HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise DamagedPackage(package=name, reason=f"it has no member header at byte {position}")
        start = position + _AR_HEADER
        end = start + int(size)
        if end > len(content):
            raise DamagedPackage(package=name, reason="it ends within a member")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), content[start:end]
        position = end + end % 2


def _member(members: dict[str, bytes], stem: str, name: str) -> bytes:
    for suffix in _COMPRESSIONS:
        if stem + suffix in members:
            return members[stem + suffix]
    present = ", ".join(members)
    raise DamagedPackage(package=name, reason=f"it holds {present}, and no {stem} in a known compression")


def _packaged(tree: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> PackagedFile | None:
    """The member as a file of the image; None for the root itself. Devices and FIFOs are refused."""
    path = image_path(member.name, name)
    mode = member.mode & 0o777
    if path == PurePosixPath("/"):
        return None
    if member.isdir():
        return PackagedFile(path=path, kind=EntryKind.DIRECTORY, mode=mode)
    if member.issym():
        return PackagedFile(path=path, kind=EntryKind.SYMLINK, mode=0o777, target=member.linkname)
    stream = tree.extractfile(member) if member.isfile() or member.islnk() else None
    if stream is None:
        raise DamagedPackage(package=name, reason=f"{path} is neither file, directory nor link")
    return PackagedFile(path=path, kind=EntryKind.FILE, mode=mode, content=stream.read())


def image_path(name: str, package: str = "") -> PurePosixPath:
    """The absolute path of a member in an image whose /bin, /lib, /lib64 and /sbin are links into /usr."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DamagedPackage(package=package, reason=f"the path {name!r} leaves the root")
    if len(parts) > 1 and parts[0] in _MERGED:
        parts.insert(0, "usr")
    return PurePosixPath("/", *parts)
