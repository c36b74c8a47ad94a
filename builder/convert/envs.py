"""Isolated Python environments of this machine for workers, made by uv once and kept in the cache.

An environment holds exactly the wheels that its specification pins, nothing that they would like beside them, and
mbuild's own environment is never touched. Its key is its pins and this machine's Python, so a change of either makes
another one and the old one stays valid for whoever runs it.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from builder.canonical import content_key
from builder.convert.watching import watched
from builder.errors import ResolutionError
from builder.events import Progress, StepFinished, StepStarted
from builder.host import Host
from builder.host.fs import remove_tree
from builder.host.uv import run_uv

REVISION = 1
"""Bumped by hand when the same pins would give another environment."""


class UnpinnedRequirement(ResolutionError):
    code = "unpinned-requirement"
    message = "the environment {environment} asks for {requirement!r}, which is not one exact version"
    hint = "write NAME==VERSION; an environment must be the same tomorrow"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentSpec:
    """``requirements`` is the whole closure as ``name==version``; dependencies are not followed. ``megabytes`` is about
    what it takes on disk, for people who wait for it; 0: not known."""

    name: str
    requirements: tuple[str, ...]
    megabytes: int = 0

    def __post_init__(self) -> None:
        for text in self.requirements:
            if not _is_pin(text):
                raise UnpinnedRequirement(environment=self.name, requirement=text)

    @property
    def key(self) -> str:
        """Of everything that decides what the environment is on this machine."""
        return content_key(
            {
                "requirements": sorted(self.requirements),
                "python": [platform.python_implementation(), sys.version, str(_base_python())],
                "machine": [sys.platform, platform.machine()],
                "revision": REVISION,
            }
        )


def ensure_environment(spec: EnvironmentSpec, host: Host) -> Path:
    """The Python of the environment, made where it is not there yet. Raises what ``run_uv`` raises."""
    directory = environments_directory(host) / spec.key
    if not _python(directory).exists():
        remove_tree(directory)  # one whose Python was uninstalled since
    elif host.store.has_directory("environments", spec.key):
        return _python(directory)
    step, began = f"environment {spec.name}", host.clock.monotonic()
    host.events.emit(StepStarted(step=step, detail=", ".join(spec.requirements)))
    expected = spec.megabytes * 1_000_000

    def make(path: Path) -> None:
        def look() -> Progress:
            """uv says nothing to who is no terminal."""
            done = directory_bytes(path)
            return Progress(step=step, done=done, total=max(done, expected) if expected else None, unit="bytes")

        with watched(look, host):
            _make(spec, path, host)

    made = host.store.directory("environments", spec.key, make)
    detail = f"{len(spec.requirements)} packages, {directory_bytes(made) // 1_000_000} MB"
    host.events.emit(StepFinished(step=step, seconds=host.clock.monotonic() - began, cached=False, detail=detail))
    return _python(made)


def environments_directory(host: Host) -> Path:
    """Where the environments are, each in a directory named by its key."""
    return host.store.root / "directories" / "environments"


def find_environment(spec: EnvironmentSpec, host: Host) -> Path | None:
    """Its directory, None where it is not installed."""
    directory = environments_directory(host) / spec.key
    return directory if _python(directory).exists() else None


def directory_bytes(directory: Path) -> int:
    """What the files below it hold; a file that is linked elsewhere, too, counts in full."""
    size = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # it went while we looked
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - tens of thousands of files
    return size


def _make(spec: EnvironmentSpec, path: Path, host: Host) -> None:
    """``--relocatable``, since the directory is renamed into its place when it is whole."""
    base = ("--python", str(_base_python()), "--no-python-downloads")
    run_uv(("venv", str(path), *base, "--relocatable", "--no-project", "--allow-existing"), host)
    install = ("pip", "install", "--python", str(_python(path)), "--no-deps", "--only-binary", ":all:")
    run_uv((*install, "--compile-bytecode", *spec.requirements), host, timeout=3600)


def _python(directory: Path) -> Path:
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _base_python() -> Path:
    """The Python behind the one that runs mbuild, not the virtual environment's."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _is_pin(text: str) -> bool:
    try:
        specifiers = list(Requirement(text).specifier)
    except InvalidRequirement:
        return False
    return len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
