"""Runs programs of another processor: QEMU's user mode, as the embedded runner starts it, or as the kernel does.

A usable one is a single static file, since inside an image nothing else of this machine is in reach. 7.2 shows this
machine's own processors in /proc/cpuinfo, at which onnxruntime (its cpuinfo library) crashes; 10.0 does not. So the
runner puts a text of the other processor there, and with that both run our images (measured).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.elf import read_elf
from builder.errors import MbuildError
from builder.host import Host
from builder.host.run import Command
from builder.oci.platform import Platform

OLDEST = (7, 2)
REGISTERED = Path("/proc/sys/fs/binfmt_misc")
"""Where the kernel shows the formats that it was told to start with a program (its admin-guide/binfmt-misc.rst)."""

_SECONDS = 30
_HEADER_MACHINE = 18
"""Where an ELF header, in its magic, has the machine: two bytes (System V gABI, chapter 4)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Processor:
    """``machine`` as ELF numbers it; ``model`` is one that servers have, ``lines`` what /proc/cpuinfo says of it."""

    program: str
    machine: int
    model: str
    lines: tuple[str, ...] = ()


_PROCESSORS = {
    "amd64": _Processor(program="qemu-x86_64", machine=62, model="max"),
    "arm64": _Processor(
        program="qemu-aarch64",
        machine=183,
        model="neoverse-n1",
        lines=(
            "BogoMIPS\t: 50.00",
            "Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            "CPU variant\t: 0x4",
            "CPU part\t: 0xd0c",
            "CPU revision\t: 1",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulator:
    """``program`` is started with ``arguments`` before those of the image's own; None where the kernel does it.
    ``cpuinfo`` is what /proc/cpuinfo has to say inside; empty: what it says anyway."""

    name: str
    program: Path | None = None
    arguments: tuple[str, ...] = ()
    cpuinfo: str = ""


def find_emulator(platform: Platform, host: Host) -> Emulator | None:
    """What runs programs for ``platform`` here, if anything does."""
    processor = _PROCESSORS.get(platform.architecture)
    if processor is None or platform.os != "linux" or sys.platform != "linux":
        return None
    return _installed(processor, host) or _registered(processor)


def emulator_names(platform: Platform) -> str:
    """Programs that would do, for people."""
    processor = _PROCESSORS.get(platform.architecture)
    return f"{processor.program} or {processor.program}-static" if processor else "an emulator of it"


def _installed(processor: _Processor, host: Host) -> Emulator | None:
    for name in (processor.program, f"{processor.program}-static"):
        program = host.run.which(name)
        version = _version(program, host) if program and _is_static(program) else ()
        if version >= OLDEST:
            return Emulator(
                name=f"{name} {'.'.join(map(str, version))}",
                program=program,
                arguments=("-cpu", processor.model),
                cpuinfo=_cpuinfo(processor),
            )
    return None


def _is_static(program: Path) -> bool:
    with program.open("rb") as stream:
        facts = read_elf(stream)
    return facts is not None and not facts.interpreter


def _version(program: Path, host: Host) -> tuple[int, ...]:
    """Empty for what does not run, or is something else."""
    try:
        said = host.run.run(Command(argv=(str(program), "--version"), timeout=_SECONDS))
    except (OSError, MbuildError):
        return ()
    return read_version(said.stdout.decode(errors="replace"))


def read_version(text: str) -> tuple[int, ...]:
    """(7, 2, 22) of ``qemu-aarch64 version 7.2.22 (Debian ...)``; empty where there is none."""
    found = re.search(r"\bversion (\d+(?:\.\d+)+)", text)
    return tuple(map(int, found[1].split("."))) if found else ()


def _cpuinfo(processor: _Processor) -> str:
    count = os.cpu_count() or 1
    blocks = ["\n".join((f"processor\t: {number}", *processor.lines)) for number in range(count)]
    return "\n\n".join(blocks) + "\n\n" if processor.lines else ""


def _registered(processor: _Processor) -> Emulator | None:
    """With the flag F the kernel has opened the program already, so that it need not be in the image."""
    for entry in _formats():
        if "enabled" in entry and "F" in entry.get("flags:", "") and _machine(entry) == processor.machine:
            name = Path(entry.get("interpreter", processor.program)).name
            return Emulator(name=f"{name}, started by the kernel", cpuinfo=_cpuinfo(processor))
    return None


def _formats() -> Iterator[dict[str, str]]:
    for file in sorted(REGISTERED.glob("*")) if REGISTERED.is_dir() else ():
        if file.name not in ("register", "status"):
            lines = file.read_text(errors="replace").splitlines()
            yield {word: rest for word, _, rest in (line.partition(" ") for line in lines)}


def _machine(entry: dict[str, str]) -> int:
    magic = bytes.fromhex(entry.get("magic", "")) if entry.get("offset", "0") == "0" else b""
    return int.from_bytes(magic[_HEADER_MACHINE : _HEADER_MACHINE + 2], "little")
