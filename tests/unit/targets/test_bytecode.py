"""Which files get bytecode, where it goes, and which Python must make it."""

from __future__ import annotations

import importlib.util
import marshal
from pathlib import Path

import pytest

from builder.host.trees import StagedTree, TreeWriter
from builder.targets.bytecode import compile_bytecode, exact_version, python_sources
from builder.targets.bytecode_worker import compile_source
from tests.support.hosts import real_host


def tree(directory: Path, files: dict[str, bytes]) -> StagedTree:
    writer = TreeWriter(directory)
    for path, content in files.items():
        writer.add_file(path, content)
    writer.add_symlink("/site/link.py", "/site/a.py")
    return writer.finish()


def test_modules_are_compiled_beside_themselves(tmp_path: Path) -> None:
    names = ("/site/a.py", "/site/b/__init__.py", "/site/libx.so.6-gdb.py", "/site/text.txt", "/site/c.pyi")
    found = python_sources(tree(tmp_path, dict.fromkeys(names, b"")), "3.13.5")
    assert [str(source.target) for source in found] == [
        "/site/__pycache__/a.cpython-313.pyc",
        "/site/b/__pycache__/__init__.cpython-313.pyc",
    ]


def test_a_tree_without_python_needs_no_interpreter(tmp_path: Path) -> None:
    nothing = StagedTree(entries=(), files={})
    compiled = compile_bytecode(nothing, tree(tmp_path / "t", {"/etc/passwd": b""}), "3.13", real_host(tmp_path, {}))
    assert compiled.entries == ()


@pytest.mark.parametrize(("python", "exact"), [("3.13", "3.13.5"), ("3.13.9", "3.13.9")])
def test_the_exact_version_is_that_of_the_package(tmp_path: Path, python: str, exact: str) -> None:
    status = b"Package: python3.13-minimal\nVersion: 3.13.5-2+deb13u5\n"
    assert exact_version(tree(tmp_path, {"/var/lib/dpkg/status.d/python3.13-minimal": status}), python) == exact


def test_a_pyc_holds_no_time_and_the_path_in_the_image() -> None:
    source = b"def f():\n    return __file__\n"
    content = compile_source(source, "/usr/lib/a.py")
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\x01\0\0\0"  # hash-based, unchecked (PEP 552)
    assert content[8:16] == importlib.util.source_hash(source)
    assert marshal.loads(content[16:]).co_filename == "/usr/lib/a.py"


def test_a_module_that_was_compiled_before_changes_nothing() -> None:
    source = b"class C:\n    def f(self):\n        class D: pass\n        return 'C.f.<locals>.D', D\n"
    alone = compile_source(source, "/a.py")
    compile_source(source + b"x = 'another one of the same names'\n", "/b.py")
    assert compile_source(source, "/a.py") == alone
