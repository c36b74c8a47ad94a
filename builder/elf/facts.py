"""What an ELF file asks of the dynamic loader and offers to others (System V gABI, chapter 5; ld.so(8); the versions:
LSB Core, "Symbol Versioning"), and for which GPUs it holds code.

Only headers and tables are read, never a whole file: CUDA's libraries have up to 750 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from builder.elf.gpu_code import SECTIONS, GpuCode, read_gpu_code
from builder.elf.versions import ElfSymbols, defined_versions, needed_versions, read_symbols

if TYPE_CHECKING:  # at run time only where a file is read: most builds read none and start sooner without
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"

PARTNERS = {"libnvrtc.so.": rb"libnvrtc-builtins\.so\.\d+\.\d+"}
"""By the beginning of a SONAME, how the file is called that the library opens by its exact name: one of another minor
version will not do, and no header says which it is."""

_LARGEST_TEXTS = 64 << 20
_BROKEN = (AssertionError, AttributeError, LookupError, OSError, OverflowError, TypeError, ValueError)
"""What elftools raises on a broken file beside its own ELFError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ElfFacts:
    """``machine`` as the gABI names it (EM_X86_64), ``search`` the RUNPATH (else RPATH) as written, ``interpreter``
    the loader of a program. ``is_rpath``: what ``search`` has also holds for the libraries that come with this file, as
    RPATH does and RUNPATH does not. ``requires``: for each library by name the versions without which the loader
    refuses this file; ``defines``: the versions that it offers itself, none where it has no versions at all. ``opens``:
    what ``PARTNERS`` looks for among its texts."""

    machine: str
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    interpreter: str = ""
    is_rpath: bool = False
    soname: str = ""
    requires: tuple[tuple[str, tuple[str, ...]], ...] = ()
    defines: tuple[str, ...] = ()
    gpu: tuple[GpuCode, ...] = ()
    opens: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "machine": self.machine,
            "needed": list(self.needed),
            "search": list(self.search),
            "interpreter": self.interpreter,
            "is_rpath": self.is_rpath,
            "soname": self.soname,
            "requires": {library: list(versions) for library, versions in self.requires},
            "defines": list(self.defines),
            "gpu": [str(code) for code in self.gpu],
            "opens": list(self.opens),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ElfFacts:
        """The inverse of ``to_json``."""
        return cls(
            machine=value["machine"],
            needed=tuple(value["needed"]),
            search=tuple(value["search"]),
            interpreter=value["interpreter"],
            is_rpath=value["is_rpath"],
            soname=value["soname"],
            requires=tuple((library, tuple(versions)) for library, versions in value["requires"].items()),
            defines=tuple(value["defines"]),
            gpu=tuple(map(GpuCode.named, value["gpu"])),
            opens=tuple(value["opens"]),
        )


def read_elf(stream: IO[bytes]) -> ElfFacts | None:
    """The facts of a program or shared object; None for any other file and for one that is broken."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return _facts(ELFFile(stream))
    except (ELFError, *_BROKEN):
        return None


def read_elf_symbols(stream: IO[bytes]) -> ElfSymbols:
    """The symbols with versions of a program or shared object; none of any other file and of one that is broken."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        dynamic = _dynamic(ELFFile(stream))
        return read_symbols(dynamic) if dynamic else ElfSymbols()
    except (ELFError, *_BROKEN):
        return ElfSymbols()


def _facts(elf: ELFFile) -> ElfFacts | None:
    from elftools.elf.segments import InterpSegment

    if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        return None
    programs = [segment for segment in elf.iter_segments() if isinstance(segment, InterpSegment)]
    dynamic = _dynamic(elf)
    texts = list(_texts(dynamic)) if dynamic else []
    paths = {kind: text for kind, text in texts if kind in ("DT_RUNPATH", "DT_RPATH")}
    search = paths.get("DT_RUNPATH") or paths.get("DT_RPATH") or ""
    soname = dict(texts).get("DT_SONAME", "")
    return ElfFacts(
        machine=str(elf.header["e_machine"]),
        needed=tuple(text for kind, text in texts if kind == "DT_NEEDED"),
        search=tuple(part for part in search.split(":") if part),
        interpreter=programs[0].get_interp_name() if programs else "",
        is_rpath="DT_RPATH" in paths and not paths.get("DT_RUNPATH"),
        soname=soname,
        requires=needed_versions(dynamic) if dynamic else (),
        defines=defined_versions(dynamic) if dynamic else (),
        gpu=read_gpu_code(elf.stream, _sections(elf, SECTIONS)),
        opens=tuple(_partners(elf, soname)),
    )


def _dynamic(elf: ELFFile) -> DynamicSegment | None:
    from elftools.elf.dynamic import DynamicSegment

    return next((segment for segment in elf.iter_segments() if isinstance(segment, DynamicSegment)), None)


def _texts(dynamic: DynamicSegment) -> Iterator[tuple[str, str]]:
    """The entries of the dynamic section that are texts, with their kinds."""
    for tag in dynamic.iter_tags():
        kind = str(tag.entry.d_tag)
        if kind in ("DT_NEEDED", "DT_RUNPATH", "DT_RPATH", "DT_SONAME"):
            yield kind, str(getattr(tag, kind[3:].lower()))  # elftools adds it on the way


def _sections(elf: ELFFile, names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where those of these sections lie that the file has, and how large they are."""
    for name in names:
        section = elf.get_section_by_name(name)
        if section is not None:
            yield section["sh_offset"], section["sh_size"]


def _partners(elf: ELFFile, soname: str) -> Iterator[str]:
    pattern = next((pattern for start, pattern in PARTNERS.items() if soname.startswith(start)), None)
    for offset, size in _sections(elf, [".rodata"] if pattern else []):
        elf.stream.seek(offset)
        found = re.findall(pattern or b"", elf.stream.read(min(size, _LARGEST_TEXTS)))
        yield from sorted({name.decode() for name in found})
