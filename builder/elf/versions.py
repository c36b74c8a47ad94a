"""The symbol versions of an ELF file (LSB Core, "Symbol Versioning"): which it needs of which library, which it
defines, and which symbols go by them. Read from the tables that the loader itself reads, so files without section
headers will do; 64 bits in little-endian order, others are taken to have none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elftools.elf.dynamic import DynamicSegment

_NEED, _NEED_PART = struct.Struct("<HHIII"), struct.Struct("<IHHII")
_DEFINITION, _DEFINITION_PART = struct.Struct("<HHHHIII"), struct.Struct("<II")
_SYMBOL, _INDEX = struct.Struct("<IBBHQQ"), struct.Struct("<H")
_WEAK_VERSION = 0x2
_WEAK_BINDING = 2
_HIDDEN = 0x8000
_UNDEFINED = 0
_LONGEST_NAME = 4096
_MOST = 1 << 20
"""Entries of one table; the largest library of CUDA has some thousand."""


@dataclass(frozen=True, slots=True)
class NeededVersion:
    """``index``: by which the symbols refer to it."""

    library: str
    name: str
    index: int
    is_weak: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ElfSymbols:
    """``wanted``: (library, version, symbol) for each symbol that another file must bring, ``offered``: (version,
    symbol) for each that this one brings. Only what has a version; a weak symbol may be missing and is not wanted."""

    wanted: frozenset[tuple[str, str, str]] = frozenset()
    offered: frozenset[tuple[str, str]] = frozenset()

    def to_json(self) -> dict[str, object]:
        return {"wanted": sorted(map(list, self.wanted)), "offered": sorted(map(list, self.offered))}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ElfSymbols:
        """The inverse of ``to_json``."""
        return cls(
            wanted=frozenset((library, version, name) for library, version, name in value["wanted"]),
            offered=frozenset((version, name) for version, name in value["offered"]),
        )


def read_symbols(dynamic: DynamicSegment) -> ElfSymbols:
    """Raises ValueError where a table leads out of the file."""
    tables = _Tables(dynamic)
    needed = {version.index: version for version in tables.needed()}
    defined = {index: name for name, index in tables.defined()}
    wanted, offered = set(), set()
    for name, binding, section, index in tables.symbols(dynamic.num_symbols()):
        if section == _UNDEFINED and binding != _WEAK_BINDING and (version := needed.get(index)):
            wanted.add((version.library, version.name, tables.text(name)))
        elif section != _UNDEFINED and index in defined:
            offered.add((defined[index], tables.text(name)))
    return ElfSymbols(wanted=frozenset(wanted), offered=frozenset(offered))


def needed_versions(dynamic: DynamicSegment) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """By library the versions that must be there; of a weak one that is missing the loader only warns."""
    found: dict[str, list[str]] = {}
    for version in _Tables(dynamic).needed():
        if not version.is_weak:
            found.setdefault(version.library, []).append(version.name)
    return tuple((library, tuple(sorted(names))) for library, names in sorted(found.items()))


def defined_versions(dynamic: DynamicSegment) -> tuple[str, ...]:
    """Each once; the first is mostly the file's own name."""
    return tuple(dict.fromkeys(name for name, _ in _Tables(dynamic).defined()))


class _Tables:
    """The tables of one file by the tags of its dynamic section."""

    def __init__(self, dynamic: DynamicSegment) -> None:
        elf = dynamic.elffile
        self._stream: IO[bytes] = elf.stream
        self._dynamic = dynamic
        self._usable = elf.elfclass == 64 and elf.little_endian
        self._strings = self._place("DT_STRTAB")

    def needed(self) -> Iterator[NeededVersion]:
        place = self._place("DT_VERNEED")
        for _ in range(self._count("DT_VERNEEDNUM")):
            _, parts, file, first, following = self._read(_NEED, place)
            part = place + first
            for _ in range(parts):
                _, flags, index, name, behind = self._read(_NEED_PART, part)
                weak = bool(flags & _WEAK_VERSION)
                yield NeededVersion(self.text(file), self.text(name), index & ~_HIDDEN, weak)
                part += behind
                if not behind:
                    break
            place += following
            if not following:
                break

    def defined(self) -> Iterator[tuple[str, int]]:
        """Name and index of each."""
        place = self._place("DT_VERDEF")
        for _ in range(self._count("DT_VERDEFNUM")):
            _, _, index, _, _, first, following = self._read(_DEFINITION, place)
            name, _ = self._read(_DEFINITION_PART, place + first)
            yield self.text(name), index & ~_HIDDEN
            place += following
            if not following:
                break

    def symbols(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """The place of its name, binding, section and version of each symbol; none where the file has no versions."""
        if not self._usable or not self._tag("DT_VERSYM"):
            return
        count = min(count, _MOST)
        rows = _SYMBOL.iter_unpack(self._bytes(self._place("DT_SYMTAB"), count * _SYMBOL.size))
        indexes = _INDEX.iter_unpack(self._bytes(self._place("DT_VERSYM"), count * _INDEX.size))
        for (name, kind, _, section, _, _), (index,) in zip(rows, indexes, strict=True):
            yield name, kind >> 4, section, index & ~_HIDDEN

    def text(self, place: int) -> str:
        self._stream.seek(self._strings + place)
        found, end, _ = self._stream.read(_LONGEST_NAME).partition(b"\0")
        if not end:
            raise ValueError("a name has no end")
        return found.decode()

    def _tag(self, kind: str) -> int:
        return next((int(tag.entry.d_val) for tag in self._dynamic.iter_tags(kind)), 0)

    def _count(self, kind: str) -> int:
        return min(self._tag(kind), _MOST) if self._usable else 0

    def _place(self, kind: str) -> int:
        return self._dynamic.get_table_offset(kind)[1] or 0

    def _read(self, layout: struct.Struct, place: int) -> tuple[int, ...]:
        return layout.unpack(self._bytes(place, layout.size))

    def _bytes(self, place: int, size: int) -> bytes:
        self._stream.seek(place)
        found = self._stream.read(size)
        if len(found) < size:
            raise ValueError("a table leads out of the file")
        return found
