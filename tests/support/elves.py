"""Small shared objects, written without a compiler: glibc's loader takes them, ldconfig and readelf read them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from builder.elf.gpu_code import GpuCode

MACHINES = {"amd64": 62, "arm64": 183}
_NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME, _RPATH = 1, 4, 5, 6, 10, 11, 14, 15
_RUNPATH, _VERSYM, _VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = (
    29,
    0x6FFFFFF0,
    0x6FFFFFFC,
    0x6FFFFFFD,
    0x6FFFFFFE,
    0x6FFFFFFF,
)
_BASE, _WEAK = 1, 2


@dataclass(frozen=True, kw_only=True)
class Library:
    """``requires``: versions by library, weak ones with a ``?``; ``defines``: own versions; ``wants``: symbols by
    (library, version); ``offers``: symbols by version; ``gpu``: fat binaries, each of so many entries."""

    soname: str = ""
    needed: Sequence[str] = ()
    runpath: str = ""
    rpath: str = ""
    requires: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defines: Sequence[str] = ()
    wants: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    offers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gpu: Sequence[Sequence[GpuCode]] = ()
    texts: Sequence[str] = ()
    architecture: str = "amd64"
    sections: bool = True

    def to_bytes(self) -> bytes:
        return _Writer(self).finish()


def fat_binary(code: Sequence[GpuCode]) -> bytes:
    """As nvcc writes it: a header, then for each code a header and, here, some bytes for what would be the code."""
    body = b""
    for one in code:
        flags = 0x11 | {"": 0, "a": 1 << 20, "f": 1 << 21}[one.suffix]
        number = one.capability[0] * 10 + one.capability[1]
        payload = b"\x7fELF of a GPU".ljust(24, b"\0")
        kind = 1 if one.is_ptx else 2
        body += struct.pack("<HHIQ12xI8xQ16x", kind, 0x101, 64, len(payload), number, flags) + payload
    return struct.pack("<4sHHQ", b"\x50\xed\x55\xba", 1, 16, len(body)) + body


def _elf_hash(name: str) -> int:
    """System V gABI, chapter 5, "Hash Table"."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        top = value & 0xF0000000
        value = (value ^ top >> 24) & ~top
    return value


class _Writer:
    def __init__(self, library: Library) -> None:
        self.library = library
        self.strings = bytearray(b"\0")
        self.body = bytearray(bytes(64 + 3 * 56))
        self.tags: list[tuple[int, int]] = []
        self.indexes: dict[tuple[str, str], int] = {}

    def text(self, value: str) -> int:
        place = len(self.strings)
        self.strings += value.encode() + b"\0"
        return place

    def add(self, content: bytes) -> int:
        self.body += bytes(-len(self.body) % 16)
        place = len(self.body)
        self.body += content
        return place

    def finish(self) -> bytes:
        library = self.library
        self.tags += [(_NEEDED, self.text(name)) for name in library.needed]
        for tag, value in ((_SONAME, library.soname), (_RUNPATH, library.runpath), (_RPATH, library.rpath)):
            if value:
                self.tags.append((tag, self.text(value)))
        self.definitions()
        self.requirements()
        self.symbols()
        places = {".rodata": self.add(b"\0".join(text.encode() for text in library.texts) + b"\0")}
        places[".nv_fatbin"] = self.add(b"".join(map(fat_binary, library.gpu)))
        sizes = {name: len(self.body) - place for name, place in places.items()}
        sizes[".rodata"] = places[".nv_fatbin"] - places[".rodata"]
        place = self.add(bytes(self.strings))
        self.tags += [(_STRTAB, place), (_STRSZ, len(self.strings)), (0, 0)]
        dynamic = self.add(b"".join(struct.pack("<QQ", *tag) for tag in self.tags))
        size = len(self.tags) * 16
        headers = [(1, 6, 0, len(self.body), 4096), (2, 6, dynamic, size, 8), (0x6474E551, 6, 0, 0, 16)]
        for number, (kind, flags, offset, length, align) in enumerate(headers):
            row = struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, length, length, align)
            self.body[64 + 56 * number : 64 + 56 * (number + 1)] = row
        sections = self.sections(places, sizes) if library.sections else (0, 0, 0)
        self.body[:64] = struct.pack(
            "<4sBBBB8xHHIQQQIHHHHHH",
            *(b"\x7fELF", 2, 1, 1, 0, 3, MACHINES[library.architecture], 1, 0, 64),
            *(sections[0], 0, 64, 56, len(headers), 64, sections[1], sections[2]),
        )
        return bytes(self.body)

    def definitions(self) -> None:
        names = list(self.library.defines) + [each for each in self.library.offers if each not in self.library.defines]
        rows = b""
        for number, name in enumerate(([self.library.soname] if names else []) + names):
            self.indexes["", name] = number + 1
            last = number == len(names)
            flags = _BASE if number == 0 else 0
            rows += struct.pack("<HHHHIII", 1, flags, number + 1, 1, _elf_hash(name), 20, 0 if last else 28)
            rows += struct.pack("<II", self.text(name), 0)
        if names:
            self.tags += [(_VERDEF, self.add(rows)), (_VERDEFNUM, len(names) + 1)]

    def requirements(self) -> None:
        wanted: dict[str, list[str]] = {library: list(names) for library, names in self.library.requires.items()}
        for library, name in self.library.wants:
            known = wanted.setdefault(library, [])
            known += [] if name in known else [name]
        rows, index = b"", len(self.indexes) + 2
        for number, (library, names) in enumerate(wanted.items()):
            last = number == len(wanted) - 1
            size = 16 + 16 * len(names)
            rows += struct.pack("<HHIII", 1, len(names), self.text(library), 16, 0 if last else size)
            for position, name in enumerate(names):
                plain = name.removesuffix("?")
                self.indexes[library, plain] = index
                flags, behind = _WEAK if name != plain else 0, 0 if position == len(names) - 1 else 16
                rows += struct.pack("<IHHII", _elf_hash(plain), flags, index, self.text(plain), behind)
                index += 1
        if wanted:
            self.tags += [(_VERNEED, self.add(rows)), (_VERNEEDNUM, len(wanted))]

    def symbols(self) -> None:
        rows, versions = [bytes(24)], [0]
        wants = [(key, name, 0) for key, names in self.library.wants.items() for name in names]
        offers = [(("", version), name, 1) for version, names in self.library.offers.items() for name in names]
        for key, name, section in wants + offers:
            weak = name.endswith("?")
            kind = (2 if weak else 1) << 4 | 2
            rows.append(struct.pack("<IBBHQQ", self.text(name.removesuffix("?")), kind, 0, section, 0, 0))
            versions.append(self.indexes[key])
        chain = [0, *((number + 1) % len(rows) for number in range(1, len(rows)))]  # one bucket, through all symbols
        table = struct.pack(f"<III{len(rows)}I", 1, len(rows), min(1, len(rows) - 1), *chain)
        self.tags += [(_HASH, self.add(table)), (_SYMTAB, self.add(b"".join(rows))), (_SYMENT, 24)]
        if self.indexes:
            self.tags.append((_VERSYM, self.add(struct.pack(f"<{len(versions)}H", *versions))))

    def sections(self, places: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[int, int, int]:
        """Where the section headers are, how many, and which of them has the names."""
        names = b"\0" + b"\0".join(name.encode() for name in places) + b"\0.shstrtab\0"
        held = self.add(names)
        rows = [bytes(64)]
        for name, place in places.items():
            row = (names.index(name.encode()), 1, 2, place, place, sizes[name], 0, 0, 8, 0)
            rows.append(struct.pack("<IIQQQQIIQQ", *row))
        rows.append(struct.pack("<IIQQQQIIQQ", names.index(b".shstrtab"), 3, 0, 0, held, len(names), 0, 0, 1, 0))
        return self.add(b"".join(rows)), len(rows), len(rows) - 1
