"""What this machine has, what is missing, and the command that mends it: the facts behind ``mbuild doctor``.

Index and mirror are asked as a build asks them, through the same settings, but once and not for long.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import uv

from builder.base.lock import read_lock
from builder.base.mirror import Mirrors
from builder.base.spec import load_base
from builder.errors import MbuildError
from builder.host import Host
from builder.host.docker import DockerEngine, connect
from builder.host.run import Command
from builder.host.uv import run_uv
from builder.oci.platform import Platform
from builder.probe.emulator import find_emulator
from builder.targets import TARGETS


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


Question = Callable[[Host], Iterable[Finding]]
PATIENCE = 4.0
"""Seconds for each question to a network; all are asked at once."""


def examine(host: Host) -> tuple[Finding, ...]:
    """Look at the machine and what it reaches. Takes less than five seconds; changes nothing but an empty cache."""
    asked = _ask_all({"docker": _engine_or_namespaces, "index": _index, "mirror": _mirror}, host)
    return (_python(), _uv(host), _disk(host), *asked)


def _ask_all(questions: Mapping[str, Question], host: Host) -> Iterator[Finding]:
    """All answers, asked for side by side; who has not answered in time is not waited for (a name server, say, takes
    what time it wants)."""
    answers: dict[str, tuple[Finding, ...]] = {}

    def answer(name: str, ask: Question) -> None:
        answers[name] = tuple(ask(host))

    threads = {name: threading.Thread(target=answer, args=(name, ask), daemon=True) for name, ask in questions.items()}
    for thread in threads.values():
        thread.start()
    end = host.clock.monotonic() + PATIENCE + 0.5
    for name, thread in threads.items():
        thread.join(max(0.0, end - host.clock.monotonic()))
        late = Finding(name=name, verdict=Verdict.MISSING, seen="no answer in time", mend=_NETWORK)
        yield from answers.get(name, (late,))


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


_NETWORK = "check the network, the name server and the proxy (HTTPS_PROXY, NO_PROXY); docs/networks.md has the settings"


def _index(host: Host) -> Iterator[Finding]:
    """Whether the index that pip's and uv's settings name has the wheels of an image."""
    target = TARGETS["cpu"]
    words = ("pip", "compile", "-", "--no-cache", "--no-deps", "--only-binary", ":all:", "--no-header", "--no-annotate")
    image = ("--python", sys.executable, "--python-version", load_base(target.base_image).python)
    brief = replace(host, environ={**host.environ, "UV_HTTP_RETRIES": "0"})
    try:
        wanted = "\n".join(target.requirements).encode()
        answer = run_uv((*words, *image, "--python-platform", "linux"), brief, stdin=wanted, timeout=PATIENCE)
    except MbuildError as error:
        yield _unreached("index", error, _holds(host, "wheels"))
        return
    except OSError as error:
        yield Finding(name="index", verdict=Verdict.MISSING, seen=f"not asked: {error}", mend="mend the cache first")
        return
    yield Finding(name="index", verdict=Verdict.OK, seen=f"has {', '.join(answer.stdout.decode().split())}")


def _mirror(host: Host) -> Iterator[Finding]:
    """Whether the mirror that this machine's settings name has the packages of a base."""
    image = load_base(TARGETS["cpu"].base_image)
    lock = read_lock(image)
    package = lock.platforms[Platform(os="linux", architecture="amd64")][0]
    mirrors = Mirrors(base=image.name, snapshot=lock.snapshot, host=host)
    try:
        root = mirrors.first_with(package.archive, package.path, PATIENCE / 2)
    except MbuildError as error:
        yield _unreached("mirror", error, _holds(host, "base"))
        return
    yield Finding(name="mirror", verdict=Verdict.OK, seen=f"{root} has {package.package} {package.version}")


def _unreached(name: str, error: MbuildError, spared: bool) -> Finding:
    """Whoever has built before needs no network for the same again."""
    verdict = Verdict.OPTIONAL if spared else Verdict.MISSING
    return Finding(name=name, verdict=verdict, seen=str(error), mend=error.advice)


def _holds(host: Host, kind: str) -> bool:
    return any(path.is_dir() for path in (host.store.root / "directories" / kind).glob("[!.]*"))


def _engine_or_namespaces(host: Host) -> Iterator[Finding]:
    """Where images can be tested."""
    engine = connect(host.environ)
    yield _engine(engine)
    yield _namespaces(host, needed=engine is None)
    yield from _emulators(host)


def _engine(engine: DockerEngine | None) -> Finding:
    if engine is None:
        mend = "apt-get install docker.io, or Docker Desktop; only --engine docker and --load need one"
        return Finding(name="docker", verdict=Verdict.OPTIONAL, seen="no engine answers", mend=mend)
    return Finding(name="docker", verdict=Verdict.OK, seen=f"engine {engine.version}")


def _emulators(host: Host) -> Iterator[Finding]:
    """Whether images for other processors can be tested."""
    machine = Platform.of_this_machine()
    for platform in TARGETS["cpu"].platforms:
        name, emulator = platform.architecture, find_emulator(platform, host)
        if emulator and platform != machine:
            yield Finding(name=name, verdict=Verdict.OK, seen=f"images for {platform} are tested under {emulator.name}")
        elif platform != machine:
            seen = f"images for {platform} are built, and not tested here"
            yield Finding(name=name, verdict=Verdict.OPTIONAL, seen=seen, mend="apt-get install qemu-user-static")


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
