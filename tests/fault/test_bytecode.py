"""Machines and bases on which bytecode cannot be compiled."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from builder.errors import ToolMissing
from builder.events import Warned
from builder.host import Host
from builder.host.trees import StagedTree, TreeWriter
from builder.targets.bytecode import BytecodeFailed, InterpreterMissing, compile_bytecode
from tests.support.hosts import RecordedEvents, real_host

LOADER = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
PYTHON = "/usr/bin/python3.13"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path / "cache")


def tree(directory: Path, files: dict[str, bytes]) -> StagedTree:
    writer = TreeWriter(directory)
    for path, content in files.items():
        writer.add_file(path, content, stat.S_IRWXU)
    return writer.finish()


@pytest.fixture
def sources(tmp_path: Path) -> StagedTree:
    return tree(tmp_path / "sources", {"/site/a.py": b"x = 1\n"})


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"/etc/passwd": b""}, "no python3.13 or no dynamic loader"),
        ({LOADER: b"\x7fELF of another kind", PYTHON: b""}, "could not compile its own files"),
        ({LOADER: b"#!/bin/sh\necho cannot open shared object >&2; exit 127\n", PYTHON: b""}, "cannot open shared"),
        ({LOADER: b"#!/bin/sh\nexit 0\n", PYTHON: b""}, "status 0"),
    ],
)
def test_an_interpreter_that_does_not_run(
    host: Host, tmp_path: Path, sources: StagedTree, files: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(BytecodeFailed, match=reason):
        compile_bytecode(tree(tmp_path / "base", files), sources, "3.13", host)
    assert not list((host.store.root / "directories" / "bytecode").glob("[0-9a-f]*/"))


def test_files_that_do_not_compile_are_told_and_left_out(host: Host, tmp_path: Path) -> None:
    import sys

    python = ".".join(map(str, sys.version_info[:2]))
    loader = b'#!/bin/sh\nshift 3\nexec "%s" "$@"\n' % sys.executable.encode()
    base = tree(tmp_path / "base", {LOADER: loader, f"/usr/bin/python{python}": b""})
    broken = tree(tmp_path / "broken", {"/site/a.py": b"x = 1\n", "/site/b.py": b"x = (\n", "/site/c.py": b"\0"})
    compiled = compile_bytecode(base, broken, python, host)
    assert [entry.path.name.partition(".")[0] for entry in compiled.entries if entry.digest] == ["a"]
    assert isinstance(host.events, RecordedEvents)
    (warned,) = host.events.events
    assert isinstance(warned, Warned)
    assert warned.message.startswith("2 Python files")
    assert "/site/b.py: SyntaxError" in warned.hint


def test_another_system_needs_the_same_python(
    host: Host, tmp_path: Path, sources: StagedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.targets.bytecode._ON_LINUX", False)
    with pytest.raises(InterpreterMissing, match=r"3\.13\.99") as caught:
        compile_bytecode(tree(tmp_path / "base", {}), sources, "3.13.99", host)
    assert isinstance(caught.value, ToolMissing)
    assert "uv python install 3.13.99" in caught.value.advice
