"""Long-running programs that tests need: started in a session of their own, remembered, and ended by their own pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


class DidNotStart(Exception):
    """A daemon ended or did not answer in time; the text has the end of its log."""


@dataclass(frozen=True)
class Daemon:
    """A program that we started. ``birth`` (clock ticks since boot) tells it from a later owner of the same pid."""

    pid: int
    birth: str
    env: Mapping[str, str]

    @property
    def alive(self) -> bool:
        return bool(self.birth) and _birth(self.pid) == self.birth

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM, and SIGKILL when it is still there after ``seconds``."""
        for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
            if self.alive:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)
                wait_until(lambda: not self.alive, patience)


def start_daemon(argv: Sequence[str], log: Path, env: Mapping[str, str], answers: Callable[[], bool]) -> Daemon:
    """Start ``argv`` and wait until it ``answers`` (at most 30 s). ``env`` is what its users need to reach it."""
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    daemon = Daemon(process.pid, _birth(process.pid), env)
    if wait_until(lambda: process.poll() is not None or answers(), 30.0) and process.poll() is None:
        return daemon
    daemon.stop()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise DidNotStart(f"{argv[0]} did not start; the end of {log}:\n{tail}")


def remember(daemon: Daemon, record: Path) -> None:
    record.write_text(json.dumps(asdict(daemon)))


def recall(record: Path) -> Daemon | None:
    """The daemon that ``remember`` wrote down, if it is still alive."""
    try:
        daemon = Daemon(**json.loads(record.read_text()))
    except FileNotFoundError:
        return None
    return daemon if daemon.alive else None


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look every 50 ms; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _birth(pid: int) -> str:
    """Field 22 of /proc/PID/stat, and nothing for a process that is gone or only waits to be reaped (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if fields[0] in "ZX":
        os.waitpid(pid, os.WNOHANG) if _is_child(fields) else None
        return ""
    return fields[19]


def _is_child(fields: list[str]) -> bool:
    return int(fields[1]) == os.getpid()
