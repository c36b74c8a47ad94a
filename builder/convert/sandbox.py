"""Runs a program apart from this machine: no network, only the places that it was given, limits on what it takes.

Three guards, the strongest that this machine allows: our own namespaces (builder/isolation), bubblewrap, and no more
than a cut network. Whoever asks says which guard is the least that will do. Limits: MBUILD_WORKER_MEMORY (bytes, or a
number with K, M or G; default: nine tenths of the machine's), MBUILD_WORKER_PROCESSES (threads count, too; 4096), and
MBUILD_WORKER_READABLE, further places to be seen (separated as in PATH), where a Python's own libraries lie elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import builder
from builder.canonical import canonical_json
from builder.errors import ToolMissing, UsageError
from builder.host import Host
from builder.host.run import Command, Completed
from builder.isolation.view import SYSTEM

_SPARE_SECONDS = 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class SandboxUnavailable(ToolMissing):
    code = "sandbox-unavailable"
    message = "{program} may run only in a sandbox, and this machine allows none: {reason}"
    hint = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0)"


class BadLimit(UsageError):
    code = "bad-worker-limit"
    message = "{name} is {value!r}, which is not a size or a number"
    hint = "write bytes, or a number with K, M or G, for example {name}=8G"


class Guard(IntEnum):
    """What keeps a program from the machine; a larger one is stronger."""

    NONE = 0
    NO_NETWORK = 1
    BUBBLEWRAP = 2
    NAMESPACES = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Confinement:
    """``readable`` files and directories are seen, ``writable`` is the one directory that may be written, and all else
    is not there; ``seconds`` is the time that it may take, ``least`` the weakest guard that will do."""

    readable: tuple[Path, ...]
    writable: Path
    seconds: float
    least: Guard = Guard.NONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Confined:
    """How it ended, under which guard; ``memory_bytes`` is the bound that it had (0: none)."""

    done: Completed
    guard: Guard
    memory_bytes: int = 0
    out_of_memory: bool = False
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limits:
    memory_bytes: int
    processes: int


def run_confined(argv: tuple[str, ...], environ: Mapping[str, str], within: Confinement, host: Host) -> Confined:
    """Run it to its end. Raises SandboxUnavailable, BadLimit, and ProgramTimeout where no guard keeps the time."""
    limits, reasons = _limits(host.environ), []
    if sys.platform.startswith("linux"):
        for attempt in (_in_namespaces, _in_bubblewrap, _without_network):
            answer = attempt(argv, environ, within, limits, host)
            if isinstance(answer, Confined):
                return answer
            reasons.append(answer)
            if within.least >= _WEAKER[attempt.__name__]:
                raise SandboxUnavailable(program=argv[-3] if len(argv) > 2 else argv[0], reason="; ".join(reasons))
    elif within.least > Guard.NONE:
        raise SandboxUnavailable(program=argv[0], reason=f"there is none on {sys.platform}")
    command = Command(argv=argv, env=environ, cwd=within.writable, timeout=within.seconds)
    return Confined(done=host.run.run(command), guard=Guard.NONE)


_WEAKER = {"_in_namespaces": Guard.NAMESPACES, "_in_bubblewrap": Guard.BUBBLEWRAP, "_without_network": Guard.NO_NETWORK}
"""The guards that cannot be had any more when this one was refused."""


def _in_namespaces(
    argv: tuple[str, ...], environ: Mapping[str, str], within: Confinement, limits: _Limits, host: Host
) -> Confined | str:
    """A refusal of the kernel is given as text."""
    request = {
        "argv": list(argv),
        "env": dict(environ),
        "workdir": str(within.writable),
        "readable": [str(place) for place in within.readable],
        "writable": str(within.writable),
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "seconds": within.seconds,
    }
    heard, status = os.pipe()
    try:
        own = {"PATH": os.defpath, "PYTHONPATH": str(Path(builder.__file__).parent.parent), "LC_ALL": "C.UTF-8"}
        command = Command(
            argv=(sys.executable, "-S", "-m", "builder.isolation", str(status)),
            env=own,
            stdin=canonical_json(request),
            timeout=within.seconds + _SPARE_SECONDS,
            pass_fds=(status,),
        )
        done = host.run.run(command)
    finally:
        os.close(status)
        with open(heard, "rb") as pipe:  # noqa: PTH123 - a descriptor
            content = pipe.read()
    if not content:
        return done.complaint or "it gave no answer"
    said = json.loads(content)
    if said["event"] == "refused":
        return f"{said['step']}: {said['reason']}"
    return Confined(
        done=Completed(argv=argv, returncode=_code(said["status"]), stdout=done.stdout, stderr=done.stderr),
        guard=Guard.NAMESPACES,
        memory_bytes=limits.memory_bytes,
        out_of_memory=said["out_of_memory"] or _says_out_of_memory(said["memory"], done),
        timed_out=said["timed_out"],
    )


def _code(status: int) -> int:
    return os.waitstatus_to_exitcode(status)


def _says_out_of_memory(bound: str, done: Completed) -> bool:
    """Below a resource limit an allocation fails, and the program says so as it ends."""
    return bound == "rlimit" and bool(re.search(rb"\bMemoryError\b|std::bad_alloc|Cannot allocate memory", done.stderr))


def _in_bubblewrap(
    argv: tuple[str, ...], environ: Mapping[str, str], within: Confinement, limits: _Limits, host: Host
) -> Confined | str:
    program = host.run.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    words = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc"]
    words += ["--remount-ro", "/proc", "--dev", "/dev", "--tmpfs"]
    words += ["/tmp"]  # noqa: S108 - inside
    for place in SYSTEM:
        path = Path(place)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), place]
        elif path.exists():
            words += ["--ro-bind", place, place]
    for place in sorted(map(str, within.readable)):
        words += ["--ro-bind-try", place, place]
    words += ["--bind", str(within.writable), str(within.writable), "--chdir", str(within.writable)]
    command = Command(
        argv=(*_bounded(limits, host), str(program), *words, "--", *argv),
        env=environ,
        cwd=within.writable,
        timeout=within.seconds,
    )
    done = host.run.run(command)
    if done.stderr.startswith(b"bwrap: "):
        return done.complaint
    return _below_rlimits(done, Guard.BUBBLEWRAP, limits)


def _without_network(
    argv: tuple[str, ...], environ: Mapping[str, str], within: Confinement, limits: _Limits, host: Host
) -> Confined | str:
    program = host.run.which("unshare")
    if program is None:
        return "unshare is not installed"
    cut = (str(program), "--user", "--map-current-user", "--net")
    command = Command(
        argv=(*_bounded(limits, host), *cut, *argv), env=environ, cwd=within.writable, timeout=within.seconds
    )
    done = host.run.run(command)
    if done.stderr.startswith(b"unshare: "):
        return done.complaint
    return _below_rlimits(done, Guard.NO_NETWORK, limits)


def _below_rlimits(done: Completed, guard: Guard, limits: _Limits) -> Confined:
    """How it ended where resource limits were all that bounded its memory."""
    out_of_memory = _says_out_of_memory("rlimit", done)
    return Confined(done=done, guard=guard, memory_bytes=limits.memory_bytes, out_of_memory=out_of_memory)


def _bounded(limits: _Limits, host: Host) -> tuple[str, ...]:
    """Resource limits by util-linux, where it is there. Processes are counted for the user as a whole here, so that
    number is left alone."""
    program = host.run.which("prlimit")
    return () if program is None else (str(program), f"--data={limits.memory_bytes}", "--core=0")


def _limits(environ: Mapping[str, str]) -> _Limits:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 40
    return _Limits(
        memory_bytes=_size(environ, "MBUILD_WORKER_MEMORY", machine // 10 * 9),
        processes=_size(environ, "MBUILD_WORKER_PROCESSES", 4096),
    )


def _size(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name, "")
    if not value:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", value.strip().upper())
    if not found or not float(found[1]):
        raise BadLimit(name=name, value=value)
    return int(float(found[1]) * _UNITS[found[2]])


def python_places(python: Path) -> tuple[Path, ...]:
    """The directories that an interpreter needs to run: its environment, and the Python that this was made from."""
    programs = list(_links(python))
    try:
        lines = (python.parent.parent / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
        programs += [Path(line.partition("=")[2].strip()) / "python" for line in lines if line.startswith("home")]
    except OSError:
        pass  # no virtual environment
    places: list[Path] = []
    for home in dict.fromkeys(_home(program) for program in programs):
        wide = home in (Path("/"), Path.home()) or home in Path.home().parents
        places += [home / "bin", home / "lib"] if wide else [home]
    return tuple(place for place in dict.fromkeys(places) if str(place) not in SYSTEM)


def _links(program: Path) -> Iterator[Path]:
    """The program as it is called, and what each link leads to."""
    yield program
    while program.is_symlink():
        program = Path(os.path.normpath(program.parent / program.readlink()))
        yield program
    yield program.resolve()


def _home(program: Path) -> Path:
    """Where an interpreter's libraries lie; one that lies alone, or is a link somewhere, brings no more than its own
    directory."""
    return program.parent.parent if program.parent.name == "bin" else program.parent


def extra_places(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """What MBUILD_WORKER_READABLE names."""
    return tuple(Path(place) for place in environ.get("MBUILD_WORKER_READABLE", "").split(os.pathsep) if place)
