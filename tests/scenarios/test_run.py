"""`mbuild run` as people use it: what it prints answers, and however it ends nothing of it is left."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from builder.host.docker import connect
from builder.oci.layout import Layout
from builder.probe.services import NAME
from tests.scenarios.conftest import COMMAND, ROOT, Mbuild
from tests.support.certificates import make_certificate
from tests.support.registries import SecuredRegistry

pytestmark = [pytest.mark.network, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

NO_DOCKER = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
SECONDS = 120


@dataclass
class Run:
    """A run in a session of its own. On a terminal ``text`` is what a person sees; without one ``out`` is stdout and
    ``err`` stderr. ``left`` are the processes below it, with their times of birth."""

    process: subprocess.Popen[bytes]
    terminal: int | None = None
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", "".join(self.out))

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + SECONDS
        while not (found := condition()):
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"not {what}: {self.text} {''.join(self.err)}"
            time.sleep(0.02)
        return found

    def ready(self) -> dict[str, Any]:
        """What it printed as JSON."""
        self.until(lambda: self.text.endswith("\n"), "ready")
        self.remember()
        return dict(json.loads(self.text))

    def remember(self) -> None:
        self.left |= {pid: birth(pid) for pid in descendants(self.process.pid)}

    def ended(self) -> int:
        code = self.process.wait(SECONDS)
        gone = lambda: all(birth(pid) != born for pid, born in self.left.items())  # noqa: E731
        deadline = time.monotonic() + SECONDS
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert gone(), [pid for pid, born in self.left.items() if birth(pid) == born]
        return code


def birth(pid: int) -> str:
    """Clock ticks since boot, and nothing of a process that is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from descendants(child)


def mounts(cache: Path) -> list[str]:
    """Of what lies in the cache, as anybody here sees it; containers of others come and go meanwhile."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(cache) in line]


def read_all(descriptor: int, into: list[str]) -> None:
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # how a terminal says that its other side has gone
            return
        if not piece:
            return
        into.append(piece.decode(errors="replace"))


Start = Callable[..., Run]


@pytest.fixture
def run(mbuild: Mbuild) -> Iterator[Start]:
    """``run(words)`` starts it with JSON on stdout, ``on_a_terminal=True`` as a person does; Docker is not there unless
    ``environ`` says where."""
    started: list[Run] = []

    def start(
        *words: str | Path,
        cache: Path | None = None,
        environ: dict[str, str] | None = None,
        on_a_terminal: bool = False,
    ) -> Run:
        env = {**os.environ, "MBUILD_CACHE": str(cache or mbuild.cache), "TERM": "xterm", "COLUMNS": "200"}
        env |= NO_DOCKER if environ is None else environ
        argv = [str(COMMAND), "run", *map(str, words), *([] if on_a_terminal else ["--format", "json"])]
        found = on_terminal(argv, env) if on_a_terminal else in_pipes(argv, env)
        started.append(found)
        return found

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


HEARS = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
"""For a program that then becomes the one that is meant: a shell lets what it starts in the background ignore SIGINT,
and these tests may be among that."""
BECOMES = "os.execv(sys.argv[1], sys.argv[1:])"


def in_pipes(argv: list[str], env: dict[str, str]) -> Run:
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS + BECOMES, *argv],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    found = Run(process)
    for stream, into in ((process.stdout, found.out), (process.stderr, found.err)):
        assert stream is not None
        threading.Thread(target=read_all, args=(stream.fileno(), into), daemon=True).start()
    return found


def on_terminal(argv: list[str], env: dict[str, str]) -> Run:
    """Through a program that makes the terminal its own, so that Ctrl-C reaches whom it reaches in a shell."""
    ours, theirs = pty.openpty()
    owns = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS + owns + BECOMES, *argv],
        env=env,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    found = Run(process, terminal=ours)
    threading.Thread(target=read_all, args=(ours, found.out), daemon=True).start()
    return found


def answered(line: str, **environ: str) -> dict[str, Any]:
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In which nobody else starts servers."""
    return tmp_path_factory.mktemp("run-cache")


@pytest.fixture(scope="module")
def layout(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "layout"
    assert (
        Mbuild(cache=host.store.root)("build", "examples/digits", "--no-test", "--no-load", "-o", out).returncode == 0
    )
    return out


def test_a_directory_without_docker_on_a_terminal(run: Start, host: Host) -> None:
    """The curl line and the Python program are copied off the screen; Ctrl-C is a key."""
    running = run("examples/digits", "--port", "0", on_a_terminal=True)
    running.until(lambda: " ready " in running.text.partition("# Ctrl-C ends it")[2], "ready")
    running.remember()
    assert len(running.left) == 3, "its keeper, its gate and the server"
    text = running.text
    (seconds,) = re.findall(r"is ready at http://127\.0\.0\.1:\d+ \(embedded, ([\d.]+) s\)", text)
    print(f"examples/digits: ready {seconds} s after it was built")
    (curl,) = re.findall(r"^curl (?:.*\\\n)*.*$", text, re.MULTILINE)
    assert answered(curl)["outputs"][0]["shape"] == [1, 10]
    program = text[text.index("import numpy") : text.index("# Ctrl-C ends it")]
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS)
    assert printed.stdout.count(".") == 10, printed.stderr
    assert '"level"' not in text, "on a terminal events are written for people"
    assert running.terminal is not None
    os.write(running.terminal, b"\x03")
    assert running.ended() == 0
    assert "stopping: what was accepted is answered" in running.text
    assert mounts(host.store.root) == []


def test_a_second_ctrl_c_kills_a_server_that_still_answers(run: Start, layout: Path) -> None:
    running = run(layout, "--port", "0", "--engine", "embedded")
    url = running.ready()["url"]
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as slow:
        slow.sendall(b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        running.process.send_signal(signal.SIGINT)
        running.until(lambda: "stopping" in "".join(running.err), "stopping")
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(run: Start, layout: Path, own_cache: Path, number: signal.Signals) -> None:
    running = run(layout, "--port", "0", cache=own_cache)
    said = running.ready()
    assert answered(said["curl"])["model_name"] == "digits"
    assert said["digest"].startswith("sha256:")
    running.until(lambda: '{"time"' in "".join(running.err), "its log, as it is")
    running.process.send_signal(number)
    assert running.ended() == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    assert mounts(own_cache) == []
    assert empty_in_time(own_cache / "running")


def empty_in_time(directory: Path) -> bool:
    deadline = time.monotonic() + SECONDS
    while any(directory.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(directory.iterdir())


def test_detached_ones_are_listed_read_and_stopped(mbuild: Mbuild, run: Start, layout: Path, own_cache: Path) -> None:
    own = replace(mbuild, cache=own_cache, environ=NO_DOCKER)
    first, second = (own.json("run", layout, "--port", "0", "--detach") for _ in range(2))  # who started them has gone
    assert (first["name"], second["name"]) == ("digits", "digits-2")
    assert "name-taken" in own("run", layout, "--name", "digits", "-d").stderr
    listed = {one["name"]: one for one in json.loads(own("ps", "--format", "json").stdout)}
    assert [listed[one["name"]]["url"] for one in (first, second)] == [first["url"], second["url"]]
    assert all(one["running"] and one["detached"] for one in listed.values())
    assert answered(first["curl"])["model_name"] == "digits"
    assert '"ready"' in own("logs", "digits-2").stdout
    keeper = int(listed["digits-2"]["id"])
    born = {pid: birth(pid) for pid in (keeper, *descendants(keeper))}
    (server,) = [pid for pid in born if not list(descendants(pid))]
    os.kill(server, signal.SIGKILL)  # as the kernel does where memory is short
    wait_for(lambda: not json.loads(own("ps", "--format", "json").stdout)[1]["running"])
    assert json.loads(own("ps", "--format", "json").stdout)[1]["exit_code"] == 137
    assert "ended, exit code 137" in own("ps").stdout
    assert '"ready"' in own("logs", "digits-2").stdout, "what it said is kept"
    assert own("stop", "digits", "digits-2").stdout.split() == ["digits", "digits-2"]
    assert json.loads(own("ps", "--format", "json").stdout) == []
    assert all(birth(pid) != when for pid, when in born.items())
    assert empty_in_time(own_cache / "running")
    assert own("stop", "digits").returncode == 2


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_keys_and_tls_are_in_the_lines(run: Start, layout: Path, own_cache: Path, tmp_path: Path) -> None:
    made = make_certificate(tmp_path / "tls")
    made.key.chmod(0o644)
    tmp_path.chmod(0o755)
    (tmp_path / "tls").chmod(0o755)
    tls = (
        "-v",
        f"{tmp_path}/tls:/tls",
        "-e",
        "MBUILD_TLS_CERT=/tls/ca.crt",
        "-e",
        f"MBUILD_TLS_KEY=/tls/{made.key.name}",
    )
    running = run(
        layout,
        "--port",
        "0",
        *tls,
        "-e",
        "MBUILD_API_KEY",
        cache=own_cache,
        environ={**NO_DOCKER, "MBUILD_API_KEY": "0123456789abcdef"},
    )
    said = running.ready()
    assert said["url"].startswith("https://localhost:")
    assert "0123456789abcdef" not in running.text
    assert answered(said["curl"], API_KEY="0123456789abcdef")["model_name"] == "digits"
    assert "key" in answered(said["curl"], API_KEY="another")["error"]
    program = said["models"][0]["python"]
    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "API_KEY": "0123456789abcdef"},
    )
    assert printed.stdout.count(".") == 10, printed.stderr
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 0


def test_what_cannot_be_is_said(mbuild: Mbuild, run: Start, layout: Path, own_cache: Path) -> None:
    own = replace(mbuild, cache=own_cache, environ=NO_DOCKER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = own("run", layout, "--port", str(port))
        assert (done.returncode, "port-unavailable" in done.stderr) == (9, True)
    done = own("run", layout, "-p", "0", "-e", "MBUILD_MODELS=/nowhere")
    assert (done.returncode, "exited-early" in done.stderr, "/nowhere" in done.stderr) == (9, True, True)
    done = own("run", layout, "--network")
    assert (done.returncode, "no-way-out" in done.stderr) == (13, True)
    running = run(layout, "--port", "0", cache=own_cache)
    running.ready()
    (server,) = [pid for pid in running.left if not list(descendants(pid))]
    os.kill(server, signal.SIGKILL)
    assert running.ended() == 9
    assert "server-ended" in "".join(running.err)
    assert empty_in_time(own_cache / "running")


def test_docker_runs_what_a_registry_has(
    mbuild: Mbuild, run: Start, layout: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    """A reference is pulled to the cache; whoever is killed leaves a container to the next run, and nothing longer."""
    engine = connect(os.environ)
    if engine is None:
        pytest.skip("no Docker engine answers")
    environ = {**registry_environ, "DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
    reference = str(registry.fresh("run", "1.0.0"))
    assert replace(mbuild, environ=environ)("push", layout, reference).returncode == 0
    names = [f"run-{os.getpid()}-{number}" for number in range(2)]
    first = run(reference, "-p", "0", "--engine", "docker", "--name", names[0], environ=environ)
    assert answered(first.ready()["curl"])["model_name"] == "digits"
    first.process.kill()
    assert first.ended() == -signal.SIGKILL
    assert len(engine.find(NAME, names[0])) == 1
    second = run(reference, "-p", "0", "--name", names[1], "--memory", "1GB", "--cpus", "1.5", environ=environ)
    said = second.ready()
    assert (said["engine"], said["digest"]) == (
        "docker",
        json.loads((layout / "index.json").read_text())["manifests"][0]["digest"],
    )
    assert [len(engine.find(NAME, name)) for name in names] == [0, 1]
    assert answered(said["curl"])["model_name"] == "digits"
    stopped = replace(mbuild, environ=environ)("stop", names[1])  # from another terminal
    assert (stopped.stdout.split(), second.ended()) == ([names[1]], 0)
    assert engine.find(NAME, names[1]) == ()

    engine.tag(str(Layout(layout).manifest(Layout(layout).find()).config.digest), names[0])
    try:
        use_and_stop(replace(mbuild, environ=environ), names[0])
    finally:
        for container in engine.find(NAME, names[0]):
            container.remove()
        engine.remove_image(names[0])


def use_and_stop(own: Mbuild, name: str) -> None:
    """An image of the engine, by its name there."""
    said = own.json("run", name, "-p", "0", "-d", "--name", name)
    assert answered(said["curl"])["model_name"] == "digits"
    assert '"ready"' in own("logs", name).stdout
    (listed,) = [one for one in json.loads(own("ps", "--format", "json").stdout) if one["name"] == name]
    assert (listed["url"], listed["id"], listed["running"]) == (said["url"], said["id"], True)
    assert own("stop", said["id"]).stdout.split() == [name]
