"""Which emulators are taken, and which are not."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import pytest

from builder.host import Host
from builder.host.run import Command, Completed, Process
from builder.oci.platform import Platform
from builder.probe import emulator
from builder.probe.emulator import emulator_names, find_emulator, read_version
from tests.support.hosts import real_host

ARM64, AMD64 = Platform.parse("linux/arm64"), Platform.parse("linux/amd64")
DEBIAN = "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022 Fabrice Bellard\n"
LOADER = b"/lib64/ld-linux-x86-64.so.2\0"


def elf(*, loader: bool) -> bytes:
    """A program for x86-64 without code, and with a PT_INTERP if ``loader``."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    count, start = int(loader), 64
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, start, 0, 0, 64, 56, count, 0, 0, 0)
    interp = struct.pack("<IIQQQQQQ", 3, 4, start + 56, 0, 0, len(LOADER), len(LOADER), 1) + LOADER
    return header + (interp if loader else b"")


@dataclass
class Programs:
    """A machine's programs: where they lie, and what they answer to --version."""

    directory: Path
    answers: dict[str, str | OSError] = field(default_factory=dict)

    def add(self, name: str, content: bytes, answer: str | OSError) -> None:
        (self.directory / name).write_bytes(content)
        self.answers[name] = answer

    def which(self, program: str) -> Path | None:
        return self.directory / program if program in self.answers else None

    def run(self, command: Command) -> Completed:
        answer = self.answers[Path(command.argv[0]).name]
        if isinstance(answer, OSError):
            raise answer
        return Completed(argv=command.argv, returncode=0, stdout=answer.encode(), stderr=b"")

    def start(self, command: Command, output: IO[bytes]) -> Process:
        raise NotImplementedError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(emulator, "REGISTERED", tmp_path / "nothing")
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "bin").mkdir()
    return Programs(tmp_path / "bin")


@pytest.fixture
def host(programs: Programs, tmp_path: Path) -> Host:
    return replace(real_host(tmp_path / "cache", {}), run=programs)


def test_a_static_one_that_is_new_enough(programs: Programs, host: Host) -> None:
    programs.add("qemu-aarch64-static", elf(loader=False), DEBIAN)
    found = find_emulator(ARM64, host)
    assert found is not None
    assert (found.name, found.program) == (
        "qemu-aarch64-static 7.2.22",
        programs.directory / "qemu-aarch64-static",
    )
    assert found.arguments == ("-cpu", "neoverse-n1")
    first, *_ = found.cpuinfo.split("\n\n")
    assert first.startswith("processor\t: 0\n")
    assert "CPU part\t: 0xd0c" in first


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (elf(loader=True), DEBIAN),
        (b"#!/bin/sh\nexec qemu\n", DEBIAN),
        (b"", DEBIAN),
        (elf(loader=False), "qemu-aarch64 version 6.2.0 (Debian 1:6.2)"),
        (elf(loader=False), "something else"),
        (elf(loader=False), OSError(8, "Exec format error")),
    ],
)
def test_what_does_not_serve_inside_an_image(
    programs: Programs, host: Host, content: bytes, answer: str | OSError
) -> None:
    programs.add("qemu-aarch64", content, answer)
    assert find_emulator(ARM64, host) is None
    programs.add("qemu-aarch64-static", elf(loader=False), DEBIAN)
    assert find_emulator(ARM64, host) is not None, "the next name is looked at"


def test_each_processor_has_its_own(programs: Programs, host: Host) -> None:
    programs.add("qemu-aarch64", elf(loader=False), DEBIAN)
    assert find_emulator(AMD64, host) is None
    assert find_emulator(Platform.parse("linux/riscv64"), host) is None
    assert find_emulator(Platform.parse("windows/arm64"), host) is None
    assert emulator_names(AMD64) == "qemu-x86_64 or qemu-x86_64-static"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (DEBIAN, (7, 2, 22)),
        ("qemu-x86_64 version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)", (10, 0, 13)),
        ("version unknown", ()),
        ("", ()),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert read_version(text) == version


FORMAT = """\
{state}
interpreter /usr/bin/qemu-aarch64-static
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200{machine}00
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize(
    ("state", "flags", "machine", "name"),
    [
        ("enabled", "F", "b7", "qemu-aarch64-static, started by the kernel"),
        ("enabled", "POCF", "b7", "qemu-aarch64-static, started by the kernel"),
        ("disabled", "F", "b7", None),
        ("enabled", "OC", "b7", None),
        ("enabled", "F", "28", None),
    ],
)
def test_what_the_kernel_starts(
    programs: Programs,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    flags: str,
    machine: str,
    name: str | None,
) -> None:
    place = programs.directory / "binfmt_misc"
    place.mkdir()
    monkeypatch.setattr(emulator, "REGISTERED", place)
    (place / "register").touch(0o200)
    (place / "status").write_text("enabled\n")
    (place / "python3.11").write_text("enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n")
    (place / "qemu-aarch64").write_text(FORMAT.format(state=state, flags=flags, machine=machine))
    found = find_emulator(ARM64, host)
    assert (found.name if found else None) == name
    assert found is None or found.program is None
