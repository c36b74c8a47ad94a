"""Runs a worker: a single file in an environment of its own, a JSON request in, a JSON answer out.

The worker sees no network (where this machine lets an ordinary user cut it: Linux user namespaces), none of our
environment variables, and a home directory that is gone afterwards. The protocol, for the authors of workers:
``python NAME.py REQUEST ANSWER``; ANSWER becomes ``{"value": ...}`` or ``{"failure": {"kind", "message"}}``, and in
both cases ``"versions"``, a mapping of the packages that it used. A worker that ends without an answer has crashed.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.canonical import canonical_json
from builder.errors import ConversionError
from builder.host import Host
from builder.host.run import Command, Completed, ProgramTimeout
from builder.resources import worker_source

_CUT_NETWORK = ("--user", "--map-current-user", "--net")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerJob:
    """``worker`` names a file of builder/convert/workers; ``python`` runs it; ``scratch`` is a directory that it may
    write and that the caller removes; ``timeout`` in seconds."""

    worker: str
    python: Path
    request: Mapping[str, object]
    scratch: Path
    timeout: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerAnswer:
    """What the worker found, and the versions of what it used."""

    value: Mapping[str, Any]
    versions: Mapping[str, str]


def run_worker(job: WorkerJob, host: Host) -> WorkerAnswer:
    """Run it to its end. Raises WorkerFailed, WorkerCrashed or WorkerTimeout."""
    request, answer = job.scratch / "request.json", job.scratch / "answer.json"
    request.write_bytes(canonical_json(job.request))
    argv = (str(job.python), "-s", "-P", str(worker_source(job.worker)), str(request), str(answer))
    try:
        done = _run_offline(
            Command(argv=argv, env=_environ(job.scratch, host), cwd=job.scratch, timeout=job.timeout), host
        )
    except ProgramTimeout as error:
        raise WorkerTimeout(worker=job.worker, seconds=job.timeout) from error
    return _read(job, answer, done)


def _run_offline(command: Command, host: Host) -> Completed:
    unshare = host.run.which("unshare") if sys.platform.startswith("linux") else None
    if unshare is not None:
        argv = (str(unshare), *_CUT_NETWORK, *command.argv)
        done = host.run.run(Command(argv=argv, env=command.env, cwd=command.cwd, timeout=command.timeout))
        if done.ok or not done.stderr.startswith(b"unshare: "):
            return done
    return host.run.run(command)


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


def _read(job: WorkerJob, answer: Path, done: Completed) -> WorkerAnswer:
    try:
        value = json.loads(answer.read_bytes())
    except (OSError, ValueError) as error:
        raise WorkerCrashed(
            worker=job.worker, ending=_ending(done.returncode), reason=done.complaint or "it said nothing"
        ) from error
    versions = {str(name): str(version) for name, version in value.get("versions", {}).items()}
    if "failure" in value:
        failure, known = value["failure"], ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        raise WorkerFailed(
            worker=job.worker, kind=failure["kind"], reason=failure["message"], versions=known or "unknown"
        )
    return WorkerAnswer(value=value["value"], versions=versions)


def _ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
