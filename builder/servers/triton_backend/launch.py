#!/usr/bin/python3.11 -IS
"""Stands in for ``sh`` and ``bash`` in an image that has no shell.

Triton's python backend starts its stub through both (python_backend, src/stub_launcher.cc): ``system("STUB> /dev/null
2>&1")`` to see that it runs, then ``bash -c " exec STUB WORD..."``. Those two lines are all that this program
understands: the stub at its own place, words without anything a shell would interpret. Everything else ends with 127.
"""

import os
import re
import sys

STUB = "/opt/mbuild/runtime/pytriton/tritonserver/backends/python/triton_python_backend_stub"
_SILENT = "> /dev/null 2>&1"
_WORD = re.compile(r"[\w./:@%+=,-]+", re.ASCII)


def read(line: str) -> "tuple[list[str], bool] | None":
    """The words to execute, and whether what they print is dropped; None for any other line."""
    silent = line.endswith(_SILENT)
    words = line.removesuffix(_SILENT).split(" ")
    words = [word for word in words if word]
    if words[:1] == ["exec"]:
        words = words[1:]
    if words[:1] != [STUB] or not all(_WORD.fullmatch(word) for word in words):
        return None
    return words, silent


def main() -> int:
    """127 where nothing was started, as a shell has it; else this process becomes the stub."""
    given = read(sys.argv[-1]) if "-c" in sys.argv[1:-1] else None
    if given is None:
        sys.stderr.write("this is not a shell: it starts the stub of Triton's python backend, and nothing else\n")
        return 127
    words, silent = given
    if silent:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    return os.execv(words[0], words)  # noqa: S606 - the stub


if __name__ == "__main__":
    sys.exit(main())
