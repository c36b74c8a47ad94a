"""Compiles the Python files of a tree with the very interpreter that the image carries (docs/adr/0004).

The interpreter's tree is laid out in a temporary directory and started through its own dynamic loader: as an ordinary
user, without chroot. It must be of this machine's architecture; the bytes are the same for every other. Each .pyc is of
the kind "unchecked hash" (PEP 552): it holds no time, and Python never looks at the source again.
On an operating system that is not Linux, a Python of exactly the same version must be there.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.canonical import content_key
from builder.errors import AssemblyError, ToolMissing
from builder.events import Warned
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.host.run import Command
from builder.host.trees import StagedTree, TreeWriter, load_tree, materialise
from builder.host.uv import UvFailed, run_uv
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry

REVISION = 1
"""Bumped by hand when the same sources and interpreter would give other bytes."""

_WORKER = Path(__file__).with_name("bytecode_worker.py")
_ENVIRON = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/nonexistent"}
_ON_LINUX = sys.platform.startswith("linux")
_LOADER = re.compile(r"ld-linux.*\.so\.\d+")


class BytecodeFailed(AssemblyError):
    code = "bytecode-failed"
    message = "the image's Python could not compile its own files: {reason}"
    hint = "build again with -v; if the base image is not ours, check that it holds a whole Python {python}"


class InterpreterMissing(ToolMissing):
    code = "interpreter-missing"
    message = "compiling bytecode needs Python {python} on this machine: {reason}"
    hint = "install it with `uv python install {python}`, then build again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A Python file of the tree and where its bytecode goes in the image."""

    entry: FileEntry
    target_name: str

    @property
    def target(self) -> PurePosixPath:
        return self.entry.path.parent / "__pycache__" / self.target_name


def compile_bytecode(interpreter: StagedTree, tree: StagedTree, python: str, host: Host) -> StagedTree:
    """The ``__pycache__`` of all Python files of ``tree``, at their paths in the image; the caller merges.

    ``interpreter`` holds Python ``python`` ("3.13", better "3.13.5") for this machine. A file that does not compile is
    left out with a warning. Raises InterpreterMissing or BytecodeFailed.
    """
    sources = python_sources(tree, python)
    if not sources:
        return StagedTree(entries=(), files={})

    def make(directory: Path) -> None:
        with temporary_directory(host.store.root / "tmp", prefix="bytecode-") as scratch:
            compiled = _compile(interpreter, tree, sources, python, scratch, host)
            writer = TreeWriter(directory)
            for number, source in enumerate(sources):
                if (compiled / f"{number}.pyc").exists():
                    writer.add_file(source.target, (compiled / f"{number}.pyc").read_bytes())
            writer.finish()

    return load_tree(host.store.directory("bytecode", _key(interpreter, sources, python), make))


def python_sources(tree: StagedTree, python: str) -> tuple[Source, ...]:
    """The files that Python could import, in the order of their paths."""
    tag = "cpython-" + "".join(python.split(".")[:2])
    files = ((entry, entry.path.name) for entry in tree.entries if entry.kind is EntryKind.FILE)
    modules = ((entry, name.removesuffix(".py")) for entry, name in files if name.endswith(".py"))
    return tuple(
        Source(entry=entry, target_name=f"{module}.{tag}.pyc") for entry, module in modules if module.isidentifier()
    )


def _key(interpreter: StagedTree, sources: tuple[Source, ...], python: str) -> str:
    return content_key(
        {
            "interpreter": [entry.to_json() for entry in interpreter.entries if entry.digest],
            "sources": [[str(source.entry.path), str(source.entry.digest)] for source in sources],
            "python": python,
            "worker": str(Digest.of(_WORKER.read_bytes())),
            "revision": REVISION,
        }
    )


def _compile(
    interpreter: StagedTree, tree: StagedTree, sources: tuple[Source, ...], python: str, scratch: Path, host: Host
) -> Path:
    """Run the worker; the directory with ``N.pyc`` for source number N."""
    output, answer, request = scratch / "out", scratch / "answer.json", scratch / "request.json"
    output.mkdir()
    files = [
        [str(tree.path(source.entry.digest)), str(source.entry.path), str(output / f"{number}.pyc")]
        for number, source in enumerate(sources)
        if source.entry.digest
    ]
    request.write_text(json.dumps({"version": python, "answer": str(answer), "files": files}), encoding="utf-8")
    launch = _launch(interpreter, python, scratch / "root", host)
    argv = (*launch, "-s", "-S", "-P", "-B", "-X", "utf8", "-W", "ignore", str(_WORKER), str(request))
    try:
        done = host.run.run(Command(argv=argv, env=_ENVIRON, cwd=scratch, timeout=600))
    except OSError as error:  # another architecture, or a file system that must not hold programs
        raise BytecodeFailed(reason=error.strerror or error, python=python) from error
    if not done.ok or not answer.exists():
        raise BytecodeFailed(reason=done.complaint or f"status {done.returncode}", python=python)
    _read_answer(json.loads(answer.read_text(encoding="utf-8")), python, host)
    return output


def _read_answer(answer: dict[str, Any], python: str, host: Host) -> None:
    if not f"{answer['version']}.".startswith(f"{python}."):
        raise BytecodeFailed(reason=f"it is Python {answer['version']}", python=python)
    if answer["skipped"]:
        listed = "; ".join(f"{path}: {reason}" for path, reason in answer["skipped"])
        host.events.emit(Warned(message=f"{len(answer['skipped'])} Python files do not compile", hint=listed))


def _launch(interpreter: StagedTree, python: str, root: Path, host: Host) -> tuple[str, ...]:
    """The start of a command line that runs the interpreter. Raises InterpreterMissing."""
    minor = ".".join(python.split(".")[:2])
    if not _ON_LINUX:
        return (str(_python_of_this_machine(exact_version(interpreter, python), host)),)
    files = [entry.path for entry in interpreter.entries if entry.kind is EntryKind.FILE]
    program = next((path for path in files if path.name == f"python{minor}" and path.parent.name == "bin"), None)
    loader = next((path for path in files if _LOADER.fullmatch(path.name)), None)
    if program is None or loader is None:
        raise BytecodeFailed(reason=f"the base has no python{minor} or no dynamic loader", python=python)
    materialise(interpreter, root)
    libraries = f"{root}{loader.parent}:{root}{program.parent.parent}/lib"
    return (f"{root}{loader}", "--library-path", libraries, f"{root}{program}")


def exact_version(interpreter: StagedTree, python: str) -> str:
    """``python`` with its patch number, which dpkg's status.d in the tree tells where ``python`` does not."""
    minor = ".".join(python.split(".")[:2])
    for entry in interpreter.entries:
        if entry.digest and entry.path == PurePosixPath(f"/var/lib/dpkg/status.d/python{minor}-minimal"):
            text = interpreter.path(entry.digest).read_text(encoding="utf-8")
            found = re.search(r"^Version: (?:\d+:)?(\d+\.\d+\.\d+)", text, re.MULTILINE)
            return found[1] if found and python == minor else python
    return python


def _python_of_this_machine(python: str, host: Host) -> Path:
    try:
        found = run_uv(("python", "find", "--no-python-downloads", "--no-project", python), host)
    except UvFailed as error:
        raise InterpreterMissing(python=python, reason=error.facts["reason"]) from error
    return Path(found.stdout.decode().strip())
