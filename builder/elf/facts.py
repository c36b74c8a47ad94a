"""What an ELF file asks of the dynamic loader (System V gABI, chapter 5; ld.so(8))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time only where a file is read: most builds read none and start sooner without
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"


@dataclass(frozen=True, kw_only=True, slots=True)
class ElfFacts:
    """``machine`` as the gABI names it (EM_X86_64), ``search`` the RUNPATH (else RPATH) as written, ``interpreter``
    the loader of a program. ``is_rpath``: what ``search`` has also holds for the libraries that come with this file, as
    RPATH does and RUNPATH does not."""

    machine: str
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    interpreter: str = ""
    is_rpath: bool = False

    def to_json(self) -> dict[str, object]:
        return {
            "machine": self.machine,
            "needed": list(self.needed),
            "search": list(self.search),
            "interpreter": self.interpreter,
            "is_rpath": self.is_rpath,
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
        )


def read_elf(stream: IO[bytes]) -> ElfFacts | None:
    """The facts of a program or shared object; None for any other file and for one that is broken."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return _facts(ELFFile(stream))
    except (ELFError, ValueError, UnicodeDecodeError):
        return None


def _facts(elf: ELFFile) -> ElfFacts | None:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.segments import InterpSegment

    if elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        return None
    needed: list[str] = []
    paths: dict[str, str] = {}
    interpreter = ""
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                kind = tag.entry.d_tag
                if kind == "DT_NEEDED":
                    needed.append(str(getattr(tag, "needed")))  # noqa: B009 - elftools adds it on the way
                elif kind in ("DT_RUNPATH", "DT_RPATH"):
                    paths[kind] = getattr(tag, kind[3:].lower())
    search = paths.get("DT_RUNPATH") or paths.get("DT_RPATH") or ""
    return ElfFacts(
        machine=str(elf.header["e_machine"]),
        needed=tuple(needed),
        search=tuple(part for part in search.split(":") if part),
        interpreter=interpreter,
        is_rpath="DT_RPATH" in paths and not paths.get("DT_RUNPATH"),
    )
