"""Running servers for tests: the server's source, copied as an image has it, in an environment like an image's."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.resources import server_source_directory
from builder.servers.http import MALLOC
from tests.support.server_env import server_python


@dataclass
class RunningServer:
    """A server process; ``events`` are its log lines so far, and all of them once its log is ``closed``."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def event(self, message: str, seconds: float = 30) -> dict[str, Any]:
        """Waits for the first event whose message starts so."""
        end = time.monotonic() + seconds
        while True:
            ended = self.closed.is_set()
            for event in list(self.events):
                if event["message"].startswith(message):
                    return event
            assert not ended and time.monotonic() < end, f"no {message!r} in {self.events} {self.stray}"
            time.sleep(0.01)

    @property
    def port(self) -> int:
        return int(self.event("listening")["port"])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ready(self) -> RunningServer:
        self.event("ready")
        return self

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def exit_code(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)


def copied_source(folder: Path) -> Path:
    """The package as it lies in an image; what is to be put on PYTHONPATH."""
    shutil.copytree(server_source_directory(), folder / "mbuild_serve", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command(source: Path, models: Path, *arguments: str, **environ: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the whole environment: no HOME, nothing inherited."""
    surroundings = {
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict([MALLOC]),
        "MBUILD_MODELS": str(models),
        "MBUILD_HOST": "127.0.0.1",
        "MBUILD_PORT": "0",
        **environ,
    }
    return [str(server_python()), "-m", "mbuild_serve", *arguments], surroundings


@contextmanager
def running(source: Path, models: Path, **environ: str) -> Iterator[RunningServer]:
    """Started, not waited for; killed at the end if it still runs."""
    line, surroundings = command(source, models, **environ)
    process = subprocess.Popen(
        line,
        env=surroundings,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = RunningServer(process)
    reader = threading.Thread(target=_read, args=(server,), daemon=True)
    reader.start()
    try:
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(5)
        assert process.stderr is not None
        process.stderr.close()


def run(source: Path, models: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command of the server that ends by itself."""
    line, surroundings = command(source, models, *arguments, **environ)
    return subprocess.run(line, env=surroundings, cwd="/", capture_output=True, text=True, timeout=60)


def refused(source: Path, models: Path, **environ: str) -> str:
    """The sentence with which the server refuses to start; checks the exit code and that it is only a sentence."""
    finished = run(source, models, **environ)
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr and "traceback" not in finished.stderr
    return str(json.loads(finished.stderr.splitlines()[-1])["message"])


def _read(server: RunningServer) -> None:
    assert server.process.stderr is not None
    for line in server.process.stderr:
        try:
            server.events.append(json.loads(line))
        except ValueError:
            server.stray.append(line)
    server.closed.set()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json()["error"])


def ask(
    address: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own; a dict is sent as JSON."""
    connection = (
        http.client.HTTPSConnection(address, timeout=30, context=tls)
        if tls
        else http.client.HTTPConnection(address, timeout=30)
    )
    try:
        content = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, path, content, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def exchange(address: str, *parts: bytes, pause: float = 0.0, half_close: bool = False) -> bytes:
    """Sends bytes as they are, then reads until the server closes."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        except OSError:
            pass  # the server has answered and closed already
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


def resident_bytes(server: RunningServer) -> int:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
