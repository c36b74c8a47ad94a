"""What this machine has, what is missing, and the command that mends it: the facts behind ``mbuild doctor``."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum

import uv

from builder.errors import MbuildError
from builder.host import Host
from builder.host.docker import DockerEngine, connect
from builder.host.run import Command


class Verdict(StrEnum):
    """``ok``; ``optional``: missing, and mbuild does without; ``missing``: builds or tests will fail."""

    OK = "ok"
    OPTIONAL = "optional"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do where it is not ok."""

    name: str
    verdict: Verdict
    seen: str
    mend: str = ""


NEEDED_BYTES = 3 << 30
"""Free space for a cold build with its caches: 1.1 GB were seen, and room for a model."""


def examine(host: Host) -> tuple[Finding, ...]:
    """Look at the machine. Takes a second or two; changes nothing."""
    engine = connect(host.environ)
    return (
        _python(),
        _uv(host),
        _disk(host),
        _engine(engine),
        _namespaces(host, needed=engine is None),
    )


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="python", verdict=Verdict.OK, seen=version)


def _uv(host: Host) -> Finding:
    try:
        answer = host.run.run(Command(argv=(uv.find_uv_bin(), "--version"), timeout=20))
    except (FileNotFoundError, MbuildError):
        return Finding(name="uv", verdict=Verdict.MISSING, seen="not found", mend="pip install --force-reinstall uv")
    return Finding(name="uv", verdict=Verdict.OK, seen=answer.stdout.decode().strip())


def _disk(host: Host) -> Finding:
    root = host.store.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    except OSError as error:
        mend = "name a directory that can be written in MBUILD_CACHE"
        return Finding(name="cache", verdict=Verdict.MISSING, seen=f"{root}: {error.strerror}", mend=mend)
    seen = f"{root}, {free / 1e9:.0f} GB free"
    if free < NEEDED_BYTES:
        mend = "`mbuild cache clear`, or a roomier directory in MBUILD_CACHE"
        return Finding(name="cache", verdict=Verdict.MISSING, seen=seen, mend=mend)
    return Finding(name="cache", verdict=Verdict.OK, seen=seen)


def _engine(engine: DockerEngine | None) -> Finding:
    if engine is None:
        mend = "apt-get install docker.io, or Docker Desktop; only --engine docker and --load need one"
        return Finding(name="docker", verdict=Verdict.OPTIONAL, seen="no engine answers", mend=mend)
    return Finding(name="docker", verdict=Verdict.OK, seen=f"engine {engine.version}")


def _namespaces(host: Host, *, needed: bool) -> Finding:
    """Without Docker the image is tested in user namespaces (builder/probe/sandbox.py)."""
    verdict = Verdict.MISSING if needed else Verdict.OPTIONAL
    mend = "sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0, or use Docker"
    try:
        answer = host.run.run(Command(argv=("unshare", "--user", "--map-root-user", "true"), timeout=20))
    except MbuildError as error:
        return Finding(name="sandbox", verdict=verdict, seen=str(error), mend="install util-linux, or use Docker")
    if not answer.ok:
        return Finding(name="sandbox", verdict=verdict, seen=answer.complaint, mend=mend)
    return Finding(name="sandbox", verdict=Verdict.OK, seen="user namespaces work")
