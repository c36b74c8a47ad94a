"""For which GPUs an ELF file holds compiled code: the headers of the fat binaries that nvcc embeds in it.

A fat binary is a header and then entries, each with a header of its own, laid one behind the other in the sections
``.nv_fatbin`` and ``__nv_relfatbin``. The layout is in no public document; it was read from files that nvcc 13.0 made
and agrees with what ``cuobjdump --list-elf --list-ptx`` lists. Only headers are read: libraries have up to 750 MB.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

SECTIONS = (".nv_fatbin", "__nv_relfatbin")

_MAGIC = b"\x50\xed\x55\xba"
_FATBIN = struct.Struct("<4sHHQ")
_ENTRY = struct.Struct("<HHIQ12xI8xQ")
_PTX, _CUBIN = 1, 2
_SPECIFIC, _FAMILY = 1 << 20, 1 << 21
_CHUNK = 4096
_NAME = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class GpuCode:
    """Code for a compute capability (``(9, 0)``): compiled, or PTX that the driver compiles when it is loaded.
    ``suffix`` is ``a`` for code that runs on exactly that capability, ``f`` for code that runs on its family."""

    capability: tuple[int, int]
    suffix: str = ""
    is_ptx: bool = False

    def __str__(self) -> str:
        """As nvcc names it: ``sm_90a``, ``compute_120``."""
        return f"{'compute' if self.is_ptx else 'sm'}_{self.capability[0]}{self.capability[1]}{self.suffix}"

    @classmethod
    def named(cls, name: str) -> GpuCode:
        """The inverse of ``str``; ValueError for anything else."""
        match = _NAME.fullmatch(name)
        if not match:
            raise ValueError(f"no GPU code is called {name!r}")
        return cls(capability=(int(match[2]), int(match[3])), suffix=match[4], is_ptx=match[1] == "compute")

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Whether a device of that capability takes it (CUDA C++ Programming Guide, "Compute Capability")."""
        if self.suffix == "a":
            return capability == self.capability
        if self.is_ptx and not self.suffix:
            return capability >= self.capability
        return capability[0] == self.capability[0] and capability >= self.capability


def runs_on(code: Iterable[GpuCode], capability: tuple[int, int]) -> bool:
    """Whether any of it does."""
    return any(one.runs_on(capability) for one in code)


def read_gpu_code(stream: IO[bytes], sections: Iterable[tuple[int, int]]) -> tuple[GpuCode, ...]:
    """What the sections at these (offset, size) hold, each once, in order; what is no fat binary is passed over."""
    return tuple(sorted({code for offset, size in sections for code in _fatbins(stream, offset, offset + size)}))


def _fatbins(stream: IO[bytes], place: int, end: int) -> Iterator[GpuCode]:
    end = min(end, stream.seek(0, io.SEEK_END))
    while (place := _next_magic(stream, place, end)) + _FATBIN.size <= end:
        _, _, header, size = _FATBIN.unpack(_at(stream, place, _FATBIN.size))
        start = place + header
        place = max(start + size, place + _FATBIN.size)
        yield from _entries(stream, start, min(place, end))


def _next_magic(stream: IO[bytes], place: int, end: int) -> int:
    """Where the next fat binary begins, mostly right here."""
    while place < end:
        found = _at(stream, place, min(_CHUNK, end - place)).find(_MAGIC)
        if found >= 0:
            return place + found
        place += _CHUNK - len(_MAGIC) + 1
    return end


def _entries(stream: IO[bytes], place: int, end: int) -> Iterator[GpuCode]:
    while place + _ENTRY.size <= end:
        kind, _, header, size, number, flags = _ENTRY.unpack(_at(stream, place, _ENTRY.size))
        if kind in (_PTX, _CUBIN):
            suffix = "a" if flags & _SPECIFIC else "f" if flags & _FAMILY else ""
            yield GpuCode(capability=divmod(number, 10), suffix=suffix, is_ptx=kind == _PTX)
        if header + size == 0:
            return
        place += header + size


def _at(stream: IO[bytes], place: int, size: int) -> bytes:
    """Exactly ``size`` bytes; zeros where the file ends."""
    stream.seek(place)
    return stream.read(size).ljust(size, b"\0")
