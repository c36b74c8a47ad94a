"""Compiles Python sources to .pyc; run by the interpreter of an image, never imported by mbuild.

``python bytecode_worker.py REQUEST``: REQUEST is a JSON file with ``files`` (source here, path in the image, .pyc to
write), ``version`` (what ``sys.version_info`` must start with) and ``answer`` (a JSON file to write: ``version``, and
``skipped``, a list of path and reason). Standard library only, Python 3.11 and newer.
"""

from __future__ import annotations

import json
import sys
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]
from importlib.util import source_hash
from pathlib import Path


def compile_source(source: bytes, path: str) -> bytes:
    """The .pyc (PEP 552, unchecked hash) of a source whose place in the image is ``path``.

    marshal marks what is referenced more than once, and interned strings of a module that is still alive count: two
    modules with a class of the same name would change each other's bytes. So nothing of one outlives this call.
    """
    code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    return bytes(_code_to_hash_pyc(code, source_hash(source), False))


def main(request: Path) -> None:
    """Compile each file in the order given."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    version = ".".join(map(str, sys.version_info[:3]))
    skipped = []
    fits = f"{version}.".startswith(asked["version"] + ".")
    for source, path, target in asked["files"] if fits else ():
        try:
            Path(target).write_bytes(compile_source(Path(source).read_bytes(), path))
        except (SyntaxError, ValueError) as error:
            skipped.append([path, f"{type(error).__name__}: {error}"])
    Path(asked["answer"]).write_text(json.dumps({"version": version, "skipped": skipped}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
