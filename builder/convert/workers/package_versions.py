"""Tells which of some packages a Python has, and in which versions; imports none of them, nor anything else beside.

Run by ``builder.convert.own``. Request: ``packages`` (names). Value: ``python`` (its version), and ``found``, by the
name that was asked for, the name that it has there and the version.
"""

import importlib.metadata
import json
import sys
from pathlib import Path


def installed(name: str) -> tuple[str, str]:
    """The name and version; where a build for the CPU is asked for, the usual one does as well. Raises
    PackageNotFoundError."""
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if not name.endswith("-cpu"):
            raise
        return name[: -len("-cpu")], importlib.metadata.version(name[: -len("-cpu")])


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = {}
    for name in request["packages"]:
        try:
            found[name] = installed(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    value = {"python": python_version(), "found": found}
    Path(sys.argv[2]).write_text(json.dumps({"value": value, "versions": {}}), encoding="utf-8")


if __name__ == "__main__":
    main()
