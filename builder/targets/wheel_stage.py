"""Unpacks locked wheels into a staged tree, as an installer would into site-packages, with nothing in between.

The binary distribution format (PyPA specification) decides where a member goes; what makes an installation differ from
machine to machine is not written: no scripts (they carry an interpreter's path), no direct_url.json, no REQUESTED.
RECORD is written anew and lists exactly the files that are there. A member that leaves its place is refused.
"""

from __future__ import annotations

import base64
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from functools import cache
from pathlib import Path, PurePosixPath

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from builder.canonical import content_key
from builder.errors import IntegrityError, ResolutionError
from builder.host import Host
from builder.host.trees import StagedTree, TreeWriter, load_tree
from builder.oci.content import Deflated
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.plan.layering import TAKEN_FROM
from builder.plan.prune import PruneRules
from builder.plan.wheel import LockedWheel

REVISION = 2
"""Bumped by hand when the same wheels and rules would give another tree."""

LARGEST = 16 << 30
"""Bytes that the wheels of one image may unpack to; CUDA's take 5 GB."""

_IN_MEMORY = 16 << 20
_UNWRITTEN = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")


class UnsafeWheel(IntegrityError):
    code = "unsafe-wheel"
    message = "the wheel {filename} is refused: {reason}"
    hint = "it is not what its build tool should make; get it from another index, or report it to its authors"


class WheelsDisagree(ResolutionError):
    code = "wheels-disagree"
    message = "{filename} needs {requirement}, but the wheels have {name} {version}"
    hint = "change the requirements so that they fit together"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file of a wheel: its name in the archive, and where it goes below site-packages."""

    item: zipfile.ZipInfo
    path: PurePosixPath


def runtime_rules(names: tuple[str, ...] = ("runtime",)) -> PruneRules:
    """What is left out of the wheels: the files ``rules/NAME.yaml`` together."""
    places = (Path(__file__).parent / "rules" / f"{name}.yaml" for name in names)
    values = [yaml.safe_load(place.read_text(encoding="utf-8")) for place in places]
    prune, keep = ({glob: why for value in values for glob, why in value[kind].items()} for kind in ("prune", "keep"))
    return PruneRules(prune=prune, keep=keep)


def stage_key(wheels: tuple[LockedWheel, ...], prefix: PurePosixPath, rules: PruneRules) -> str:
    """The key of the staged tree: everything that decides its bytes."""
    hashes = [wheel.sha256 for wheel in wheels]
    return content_key({"wheels": hashes, "prefix": str(prefix), "rules": rules.to_json(), "revision": REVISION})


def stage_wheels(wheels: tuple[LockedWheel, ...], prefix: PurePosixPath, rules: PruneRules, host: Host) -> StagedTree:
    """The wheels unpacked below ``prefix`` (the image's site-packages), without what the rules prune.

    The wheels must be in the store (``fetch_wheels``). Raises UnsafeWheel or WheelsDisagree.
    """

    def make(directory: Path) -> None:
        writer = TreeWriter(directory)
        for wheel in wheels:
            with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
                _unpack(wheel, archive, prefix, rules, writer)
        _check_agreement(wheels, prefix, writer)
        writer.finish()

    try:
        directory = host.store.directory("wheels", stage_key(wheels, prefix, rules), make)
        return load_tree(directory, in_wheels(wheels, prefix, TAKEN_FROM, host))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError) as error:
        raise UnsafeWheel(filename=", ".join(wheel.filename for wheel in wheels), reason=error) from error


def _unpack(
    wheel: LockedWheel, archive: zipfile.ZipFile, prefix: PurePosixPath, rules: PruneRules, writer: TreeWriter
) -> None:
    folder = dist_info(wheel, archive)
    kept = [member for member in members(wheel, archive, folder) if rules.pruned_by(member.path) is None]
    added = {each.path: add_member(archive, each, prefix, writer, TAKEN_FROM) for each in kept}
    write_record(folder, added, prefix, writer)


def write_record(
    folder: str, files: Mapping[PurePosixPath, FileEntry], prefix: PurePosixPath, writer: TreeWriter
) -> None:
    """INSTALLER and RECORD of a wheel of which the image has ``files`` (by their paths below ``prefix``)."""
    installer = PurePosixPath(folder, "INSTALLER")
    writer.add_file(prefix / installer, b"mbuild\n")
    listed = {**files, installer: writer.entries[prefix / installer]}
    record = [*(_record_line(path, entry) for path, entry in listed.items()), f"{folder}/RECORD,,"]
    writer.add_file(prefix / folder / "RECORD", ("\n".join(sorted(record)) + "\n").encode())


def add_member(
    archive: zipfile.ZipFile, member: Member, prefix: PurePosixPath, writer: TreeWriter, taken_from: int
) -> FileEntry:
    """Add a file of a wheel below ``prefix``; the entry that was made. The bytes of one that is compressed and has
    ``taken_from`` of them stay in the wheel (``in_wheels`` says where)."""
    mode = 0o755 if (member.item.external_attr >> 16) & 0o111 else 0o644
    path = prefix / member.path
    with archive.open(member.item) as stream:
        chunks = iter(lambda: stream.read(1 << 20), b"")
        if _is_taken(member.item, taken_from):
            size, digest = member.item.file_size, Digest.of_chunks(chunks)
            entry = FileEntry(path=path, kind=EntryKind.FILE, mode=mode, digest=digest, size=size)
            writer.add_entry(entry)
            return entry
        if member.item.file_size > _IN_MEMORY:
            return writer.add_chunks(path, chunks, mode)
        writer.add_file(path, stream.read(), mode)
        return writer.entries[path]


def _is_taken(item: zipfile.ZipInfo, taken_from: int) -> bool:
    return item.file_size >= taken_from and item.compress_type == zipfile.ZIP_DEFLATED


def in_wheels(
    wheels: Sequence[LockedWheel], prefix: PurePosixPath, taken_from: int, host: Host
) -> Callable[[FileEntry], Deflated | None]:
    """Where the bytes lie that ``add_member`` left in these wheels."""

    def find(entry: FileEntry) -> Deflated | None:
        return taken().get(entry.path) if entry.size >= taken_from else None

    @cache
    def taken() -> dict[PurePosixPath, Deflated]:
        return {
            prefix / member.path: _deflated(member.item, host.store.blob_path(wheel.digest))
            for wheel in wheels
            for member in _taken_members(wheel, taken_from, host)
        }

    return find


def _taken_members(wheel: LockedWheel, taken_from: int, host: Host) -> list[Member]:
    with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
        found = members(wheel, archive, dist_info(wheel, archive))
        return [member for member in found if _is_taken(member.item, taken_from)]


def _deflated(item: zipfile.ZipInfo, path: Path) -> Deflated:
    """Behind the member's local header, whose lengths of name and extra field are its own (APPNOTE.TXT, 4.3.7)."""
    with path.open("rb") as stream:
        stream.seek(item.header_offset + 26)
        name, extra = struct.unpack("<HH", stream.read(4))
    offset = item.header_offset + 30 + name + extra
    return Deflated(path=path, offset=offset, stored=item.compress_size, length=item.file_size, crc=item.CRC)


def _record_line(path: PurePosixPath, entry: FileEntry) -> str:
    """A line of RECORD (PyPA "Recording installed projects"): path, unpadded urlsafe base64 of the sha256, size."""
    assert entry.digest is not None, "RECORD lists files"
    encoded = base64.urlsafe_b64encode(bytes.fromhex(entry.digest.hex)).decode().rstrip("=")
    name = f'"{path}"' if "," in str(path) else str(path)
    return f"{name},sha256={encoded},{entry.size}"


def dist_info(wheel: LockedWheel, archive: zipfile.ZipFile) -> str:
    """The name of the wheel's one .dist-info folder. Raises UnsafeWheel, also for a format newer than 1.x."""
    tops = sorted({name.partition("/")[0] for name in archive.namelist()})
    folders = [name for name in tops if name.endswith(".dist-info")]
    owners = [canonicalize_name(name.removesuffix(".dist-info").rpartition("-")[0]) for name in folders]
    if owners != [canonicalize_name(wheel.name)]:
        raise UnsafeWheel(filename=wheel.filename, reason=f"its .dist-info folders are {folders}")
    try:
        text = archive.read(f"{folders[0]}/WHEEL").decode(errors="replace")
    except KeyError as error:
        raise UnsafeWheel(filename=wheel.filename, reason="it has no WHEEL file") from error
    version = HeaderParser().parsestr(text).get("Wheel-Version", "")
    if version.partition(".")[0] != "1":
        raise UnsafeWheel(filename=wheel.filename, reason=f"its format version is {version!r}, not 1.x")
    return folders[0]


def members(wheel: LockedWheel, archive: zipfile.ZipFile, folder: str) -> Iterator[Member]:
    """The files that an installation has, in the order of their paths. Raises UnsafeWheel."""
    items = [item for item in archive.infolist() if not item.is_dir()]
    unpacked = sum(item.file_size for item in items)
    if unpacked > LARGEST:
        raise UnsafeWheel(filename=wheel.filename, reason=f"it unpacks to {unpacked} bytes")
    found: dict[PurePosixPath, Member] = {}
    for item in items:
        path = _destination(wheel, item, folder)
        if path is None or (path.parts[0] == folder and len(path.parts) == 2 and path.name in _UNWRITTEN):
            continue
        if path in found:
            raise UnsafeWheel(filename=wheel.filename, reason=f"it has {path} twice")
        found[path] = Member(item=item, path=path)
    return iter([found[path] for path in sorted(found)])


def _destination(wheel: LockedWheel, item: zipfile.ZipInfo, folder: str) -> PurePosixPath | None:
    """Where below site-packages a member goes; None for scripts and headers, which an image does not need."""
    name = item.filename
    parts = name.split("/")
    if stat.S_ISLNK(item.external_attr >> 16):
        raise UnsafeWheel(filename=wheel.filename, reason=f"{name} is a symbolic link")
    if "\\" in name or "\0" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
        raise UnsafeWheel(filename=wheel.filename, reason=f"{name!r} leads out of its place")
    if parts[0] != folder.removesuffix(".dist-info") + ".data":
        return PurePosixPath(name)
    scheme = parts[1] if len(parts) > 2 else ""
    if scheme in ("purelib", "platlib"):
        return PurePosixPath(*parts[2:])
    if scheme in ("scripts", "headers"):
        return None
    raise UnsafeWheel(filename=wheel.filename, reason=f"{name} would go outside of site-packages")


def _check_agreement(wheels: tuple[LockedWheel, ...], prefix: PurePosixPath, writer: TreeWriter) -> None:
    """Each wheel's Requires-Dist holds for those of its requirements that are among the wheels."""
    versions = {canonicalize_name(wheel.name): wheel.version for wheel in wheels}
    linux = {"extra": "", "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    for path in [path for path in writer.entries if path.name == "METADATA" and path.parent.parent == prefix]:
        for line in HeaderParser().parsestr(writer.read(path).decode(errors="replace")).get_all("Requires-Dist", []):
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                continue
            name = canonicalize_name(requirement.name)
            if name not in versions or (requirement.marker and not requirement.marker.evaluate(linux)):
                continue
            if not requirement.specifier.contains(versions[name], prereleases=True):
                where = path.parent.name.removesuffix(".dist-info")
                raise WheelsDisagree(filename=where, requirement=requirement, name=name, version=versions[name])
