"""The shared libraries in a wheel, with what they need, offer and hold, read out of the archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from builder.elf import ElfFacts, read_elf
from builder.elf.facts import read_elf_symbols
from builder.elf.versions import ElfSymbols
from builder.host import Host
from builder.host.fs import seekable
from builder.plan.wheel import LockedWheel
from builder.targets.wheel_stage import Member, dist_info, members

REVISION = 1
"""Bumped by hand when ``to_json`` or what is read changes."""

_RECORDS = "wheel-libraries"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelLibrary:
    """``path`` is below site-packages."""

    path: PurePosixPath
    elf: ElfFacts
    symbols: ElfSymbols

    def to_json(self) -> dict[str, object]:
        return {"path": str(self.path), "elf": self.elf.to_json(), "symbols": self.symbols.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WheelLibrary:
        """The inverse of ``to_json``."""
        return cls(
            path=PurePosixPath(value["path"]),
            elf=ElfFacts.from_json(value["elf"]),
            symbols=ElfSymbols.from_json(value["symbols"]),
        )


def read_libraries(wheel: LockedWheel, host: Host) -> tuple[WheelLibrary, ...]:
    """Those of a wheel in the store (``fetch_wheels``), remembered by the wheel's hash. A large one lies in the store
    as a file without a name while it is read. Raises UnsafeWheel or DiskFull."""
    key = f"{REVISION}-{wheel.sha256}"
    if record := host.store.record(_RECORDS, key):
        return tuple(map(WheelLibrary.from_json, record["libraries"]))
    with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
        found = tuple(_libraries(wheel, archive, host))
    host.store.put_record(_RECORDS, key, {"libraries": [library.to_json() for library in found]})
    return found


def _libraries(wheel: LockedWheel, archive: zipfile.ZipFile, host: Host) -> Iterator[WheelLibrary]:
    for member in members(wheel, archive, dist_info(wheel, archive)):
        if ".so" in member.path.name and (library := _read(archive, member, host)):
            yield library


def _read(archive: zipfile.ZipFile, member: Member, host: Host) -> WheelLibrary | None:
    with archive.open(member.item) as stream:
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        with seekable(chunks, member.item.file_size, host.store.root / "tmp") as file:
            elf = read_elf(file)
            return WheelLibrary(path=member.path, elf=elf, symbols=read_elf_symbols(file)) if elf else None
