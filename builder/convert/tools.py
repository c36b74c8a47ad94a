"""What decides the output of a worker beside its request: its own source, and the pins of its environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from builder.canonical import content_key
from builder.convert.envs import EnvironmentSpec
from builder.oci.digest import Digest
from builder.resources import worker_source

_WORD = re.compile(r"\w+")


@cache
def worker_digest(worker: str) -> str:
    """For keys and locks: another one as soon as the worker is."""
    return source_digest(worker_source(worker))


def source_digest(worker: Path) -> str:
    """Of the file and of those beside it that it imports, in whatever line and through whatever other."""
    files: dict[str, str] = {}
    beside = {path.stem for path in worker.parent.glob("*.py")}
    waiting = [worker]
    while waiting:
        path = waiting.pop()
        if path.name in files or not path.is_file():
            continue
        content = path.read_bytes()
        files[path.name] = str(Digest.of(content))
        if beside & set(_WORD.findall(content.decode())) - {path.stem}:  # what imports names it: few need to be parsed
            waiting += [path.with_name(f"{module}.py") for module in _imported(content)]
    return content_key(files)[:16]


def _imported(content: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def tools_of(name: str, worker: str, environment: EnvironmentSpec) -> dict[str, str]:
    """What a lock says about a worker that is called ``name`` there."""
    pins = (pin.partition("==")[::2] for pin in environment.requirements)
    return {f"{name}.{package}": version for package, version in pins} | {name: worker_digest(worker)}
