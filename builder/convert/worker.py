"""Runs a worker: a single file in an environment of its own, a JSON request in, a JSON answer out.

The worker runs in the strongest sandbox that this machine allows (builder/convert/sandbox.py): it sees no network, none
of our environment variables, of the file system only its Python, the system's libraries and what the job names, and
may write its scratch directory alone; the answer says which guard was on. The protocol, for the authors of workers:
``python NAME.py REQUEST ANSWER``; ANSWER becomes ``{"value": ...}`` or ``{"failure": {"kind", "message"}}``, and in
both cases ``"versions"``, a mapping of the packages that it used. A worker that ends without an answer has crashed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.canonical import canonical_json
from builder.convert.sandbox import Confined, Confinement, Guard, extra_places, python_places, run_confined
from builder.errors import ConversionError
from builder.host import Host
from builder.host.fs import disk_errors
from builder.host.run import ProgramTimeout
from builder.resources import worker_source

MAX_ANSWER_BYTES = 64 << 20
"""Of the JSON; arrays and models travel as files."""


class WorkerFailed(ConversionError):
    code = "worker-failed"
    message = "{worker} failed ({kind}): {reason}"
    hint = "versions used: {versions}"


class WorkerCrashed(ConversionError):
    code = "worker-crashed"
    message = "{worker} ended with {ending} and no answer: {reason}"
    hint = "if it was killed, give it more memory; otherwise its last words above name the cause"


class WorkerTimeout(ConversionError):
    code = "worker-timeout"
    message = "{worker} did not finish within {seconds} s"
    hint = "a smaller model or a faster machine; the limit guards against models that hang their runtime"


class WorkerOutOfMemory(ConversionError):
    code = "worker-out-of-memory"
    message = "{worker} needed more than {memory} MB of memory"
    hint = "set MBUILD_WORKER_MEMORY, for example to 16G, or convert on a machine that has more"


class WorkerOutputRefused(ConversionError):
    code = "worker-output-refused"
    message = "{worker} left {path}, which is no regular file"
    hint = "a model that makes its converter write links or devices is not to be trusted"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerJob:
    """``worker`` names a file of builder/convert/workers; ``python`` runs it; ``scratch`` is the directory that it may
    write and that the caller removes; ``readable`` are further files and directories that it may see; ``timeout`` in
    seconds; ``least`` is the weakest guard that will do."""

    worker: str
    python: Path
    request: Mapping[str, object]
    scratch: Path
    readable: tuple[Path, ...] = ()
    timeout: float = 600.0
    least: Guard = Guard.NONE


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerAnswer:
    """What the worker found, the versions of what it used, and what kept it from the machine meanwhile."""

    value: Mapping[str, Any]
    versions: Mapping[str, str]
    guard: Guard = Guard.NONE


def run_worker(job: WorkerJob, host: Host) -> WorkerAnswer:
    """Run it to its end. Raises WorkerFailed, WorkerCrashed, WorkerTimeout, WorkerOutOfMemory or SandboxUnavailable."""
    scratch, source = job.scratch.resolve(), worker_source(job.worker)
    request, answer = scratch / "request.json", scratch / "answer.json"
    request.write_bytes(canonical_json(job.request))
    argv = (str(job.python), "-s", str(source), str(request), str(answer))
    beside = (*source.parent.glob("*.py"),)
    readable = (*python_places(job.python), *beside, *job.readable, *extra_places(host.environ))
    within = Confinement(readable=readable, writable=scratch, seconds=job.timeout, least=job.least)
    try:
        ended = run_confined(argv, _environ(scratch, host), within, host)
    except ProgramTimeout as error:
        raise WorkerTimeout(worker=job.worker, seconds=job.timeout) from error
    if ended.timed_out:
        raise WorkerTimeout(worker=job.worker, seconds=job.timeout)
    return _read(job, answer, ended)


def take_output(job: WorkerJob, output: Path, directory: Path) -> None:
    """Move what the worker wrote below ``output`` into ``directory``. Raises WorkerOutputRefused for anything but files
    and directories: a link would have us read, and pack, what the worker itself may not see."""
    for path in sorted(output.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or (stat.S_ISREG(mode) and path.lstat().st_nlink > 1):
            raise WorkerOutputRefused(worker=job.worker, path=path.relative_to(output))
    with disk_errors(directory):
        for path in sorted(output.iterdir()):
            shutil.move(path, directory / path.name)


def _environ(scratch: Path, host: Host) -> dict[str, str]:
    """All that a worker gets to see. Telemetry is on by default in onnxruntime 1.29 and newer."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    fixed = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
    }
    passed = {name: host.environ[name] for name in ("SYSTEMROOT", "NUMBER_OF_PROCESSORS") if name in host.environ}
    return fixed | passed


def _read(job: WorkerJob, answer: Path, ended: Confined) -> WorkerAnswer:
    done = ended.done
    try:
        value = json.loads(_content(answer))
    except (OSError, ValueError) as error:
        if ended.out_of_memory:
            raise WorkerOutOfMemory(worker=job.worker, memory=ended.memory_bytes // 1_000_000) from error
        raise WorkerCrashed(
            worker=job.worker, ending=_ending(done.returncode), reason=done.complaint or "it said nothing"
        ) from error
    versions = {str(name): str(version) for name, version in value.get("versions", {}).items()}
    if "failure" in value:
        failure, known = value["failure"], ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        raise WorkerFailed(
            worker=job.worker, kind=failure["kind"], reason=failure["message"], versions=known or "unknown"
        )
    return WorkerAnswer(value=value["value"], versions=versions, guard=ended.guard)


def _content(answer: Path) -> bytes:
    """Not through a link, which a worker could have put there to have us read what it may not."""
    with os.fdopen(os.open(answer, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as stream:
        return stream.read(MAX_ANSWER_BYTES)


def _ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
