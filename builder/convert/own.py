"""An environment of the user's own for a converter, instead of the locked one. It is asked first what it holds: what is
missing is refused, other versions than the pinned ones are taken and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.convert.converters import Converter
from builder.convert.worker import WorkerCrashed, WorkerJob, WorkerTimeout, run_worker
from builder.errors import ResolutionError, UsageError
from builder.events import Warned
from builder.host import Host
from builder.host.fs import temporary_directory

OLDEST_PYTHON = (3, 11)
"""What workers are written for, as mbuild itself."""


class NoPythonThere(UsageError):
    code = "no-python-there"
    message = "--env names {path}, which does not run as a Python: {reason}"
    hint = (
        "name the program of an environment, for example --env python=.venv/bin/python; libraries of it that lie "
        "elsewhere are seen where MBUILD_WORKER_READABLE names them"
    )


class OwnEnvironmentLacks(ResolutionError):
    code = "own-environment-lacks"
    message = "{path}, which --env names, cannot convert from {framework}: it lacks {missing}"
    hint = "install them there (these are the versions that mbuild would use), or leave --env out"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnEnvironment:
    """``versions`` are those of Python and of the packages that mbuild would have pinned."""

    python: Path
    versions: tuple[tuple[str, str], ...]


def own_environment(python: Path, converter: Converter, host: Host) -> OwnEnvironment:
    """What the user's Python holds of what the converter needs. Raises NoPythonThere and OwnEnvironmentLacks."""
    pins = dict(pin.split("==") for pin in converter.environment.requirements)
    version, found = _ask(python, tuple(pins), host)
    missing = [f"{name}=={pin}" for name, pin in pins.items() if name not in found]
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PYTHON:
        missing = [f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer (it is {version})", *missing]
    if missing:
        raise OwnEnvironmentLacks(path=python, framework=converter.framework, missing=", ".join(missing))
    if others := other_versions(pins, found):
        host.events.emit(
            Warned(
                message=f"{python} has other versions than mbuild would use: {', '.join(others)}",
                hint="they are taken as they are, and the lock names them; the outputs are compared as ever",
            )
        )
    return OwnEnvironment(python=python, versions=(("python", version), *sorted(found.values())))


def other_versions(pins: Mapping[str, str], found: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """In words; the local part of a version, as in 2.13.0+cpu, only names a build."""
    return tuple(
        f"{name} {version} instead of {pins[asked]}"
        for asked, (name, version) in found.items()
        if version.partition("+")[0] != pins[asked]
    )


def _ask(python: Path, packages: tuple[str, ...], host: Host) -> tuple[str, dict[str, tuple[str, str]]]:
    """Python's version, and by the name of a pin, name and version of what is there."""
    with temporary_directory(prefix="mbuild-own-") as scratch:
        job = WorkerJob(
            worker="package_versions", python=python, request={"packages": packages}, scratch=scratch, timeout=60
        )
        try:
            value = run_worker(job, host).value
        except (WorkerCrashed, WorkerTimeout) as error:
            raise NoPythonThere(path=python, reason=error) from error
    return str(value["python"]), {asked: (name, version) for asked, (name, version) in value["found"].items()}
