"""The one door for processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from builder.errors import ToolMissing


class ProgramMissing(ToolMissing):
    code = "program-missing"
    message = "the program {program} is not on this machine"
    hint = "`mbuild doctor` shows what is missing and the command that mends it"


class ProgramTimeout(ToolMissing):
    code = "program-timeout"
    message = "{program} did not finish within {seconds} s"
    hint = "run it again; if it hangs every time, run it by hand to see what it waits for: {command}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What to run. ``env`` is the whole environment (None: this process's own); ``timeout`` in seconds."""

    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdin: bytes = b""
    timeout: float | None = None
    pass_fds: tuple[int, ...] = field(default=())


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """How a process ended. ``returncode`` is negative for a signal."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    @property
    def complaint(self) -> str:
        """The last lines that it wrote to stderr (else stdout), for an error message."""
        text = (self.stderr or self.stdout).decode(errors="replace").strip()
        return "\n".join(text.splitlines()[-20:])


class Process(Protocol):
    """A process that goes on running; its output goes where ``start`` was told."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Runner(Protocol):
    """Runs programs. ``run`` waits and keeps the output; ``start`` returns at once."""

    def run(self, command: Command) -> Completed: ...

    def start(self, command: Command, output: IO[bytes]) -> Process: ...

    def which(self, program: str) -> Path | None: ...


class SystemRunner:
    """Processes of this machine. A program that is not there raises ProgramMissing; one too slow, ProgramTimeout."""

    def run(self, command: Command) -> Completed:
        try:
            done = subprocess.run(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                input=command.stdin,
                capture_output=True,
                timeout=command.timeout,
                pass_fds=command.pass_fds,
                check=False,
            )
        except FileNotFoundError as error:
            raise ProgramMissing(program=command.argv[0]) from error
        except subprocess.TimeoutExpired as error:
            raise ProgramTimeout(
                program=command.argv[0], seconds=command.timeout, command=" ".join(command.argv)
            ) from error
        return Completed(argv=command.argv, returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def start(self, command: Command, output: IO[bytes]) -> Process:
        """Start it in a session of its own with stdout and stderr going to ``output``; no stdin."""
        try:
            return subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=command.pass_fds,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ProgramMissing(program=command.argv[0]) from error

    def which(self, program: str) -> Path | None:
        found = shutil.which(program, path=os.environ.get("PATH"))
        return Path(found) if found else None
