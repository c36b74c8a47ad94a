"""What a hostile worker cannot do, under each guard that this machine has, and what is said when it tries."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.convert.sandbox import (
    BadLimit,
    Confined,
    Confinement,
    Guard,
    SandboxUnavailable,
    python_places,
    run_confined,
)
from builder.convert.worker import (
    WorkerCrashed,
    WorkerJob,
    WorkerOutOfMemory,
    WorkerOutputRefused,
    WorkerTimeout,
    run_worker,
    take_output,
)
from builder.host import Host
from builder.host.run import Command, Completed, SystemRunner
from builder.isolation.cgroup import Cgroup
from tests.support.hosts import real_host

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the guards are Linux's")

PYTHON = Path(sys.executable)


class Weakened(SystemRunner):
    """A machine whose kernel refuses our namespaces, and that has only ``programs``."""

    def __init__(self, *programs: str) -> None:
        self._programs = programs

    def run(self, command: Command) -> Completed:
        if "builder.isolation" in command.argv:
            return Completed(argv=command.argv, returncode=1, stdout=b"", stderr=b"namespaces are not allowed")
        return super().run(command)

    def which(self, program: str) -> Path | None:
        return super().which(program) if program in self._programs else None


MACHINES: dict[Guard, Callable[[], SystemRunner]] = {
    Guard.NAMESPACES: SystemRunner,
    Guard.BUBBLEWRAP: lambda: Weakened("bwrap", "prlimit"),
    Guard.NO_NETWORK: lambda: Weakened("unshare", "prlimit"),
}
SANDBOXES = [Guard.NAMESPACES, Guard.BUBBLEWRAP]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "canary").write_text("a secret")
    return tmp_path / "canary"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("the weights")
    return tmp_path / "model"


def ask(tmp_path: Path, guard: Guard, code: str, **environ: str) -> Confined:
    """Run ``code`` under a guard; skips where this machine does not have it."""
    host = replace(real_host(tmp_path / "cache", environ), run=MACHINES[guard]())
    within = Confinement(
        readable=(*python_places(PYTHON), tmp_path / "model"), writable=tmp_path / "scratch", seconds=20, least=guard
    )
    try:
        ended = run_confined((str(PYTHON), "-I", "-c", code), {"PATH": os.defpath}, within, host)
    except SandboxUnavailable as error:
        pytest.skip(f"this machine has no {guard}: {error}")
    assert ended.guard is guard
    return ended


@pytest.mark.parametrize("guard", SANDBOXES)
def test_it_reads_the_model_and_nothing_else(
    tmp_path: Path, scratch: Path, canary: Path, model: Path, guard: Guard
) -> None:
    seen = ask(tmp_path, guard, f"print(open({str(model / 'weights')!r}).read())")
    assert seen.done.stdout == b"the weights\n", seen.done.stderr
    for place in (canary, Path.home() / ".bashrc", Path("/etc/shadow"), Path(f"/proc/{os.getpid()}/environ")):
        refused = ask(tmp_path, guard, f"open({str(place)!r}).read()")
        assert b"FileNotFoundError" in refused.done.stderr, place


@pytest.mark.parametrize("guard", SANDBOXES)
@pytest.mark.parametrize("place", ["model/weights", "model/new", "beside", "/usr/new", "/proc/sys/kernel/domainname"])
def test_it_writes_its_scratch_directory_and_nothing_else(
    tmp_path: Path, scratch: Path, canary: Path, model: Path, guard: Guard, place: str
) -> None:
    target = tmp_path / place
    refused = ask(tmp_path, guard, f"open({str(target)!r}, 'w').write('x')")
    assert b"Error" in refused.done.stderr or not target.exists()
    assert (model / "weights").read_text() == "the weights"
    ask(tmp_path, guard, "open('mine', 'w').write('x')")
    assert (scratch / "mine").read_text() == "x"


@pytest.mark.parametrize("guard", SANDBOXES)
def test_it_has_no_capability_and_sees_no_other_process(
    tmp_path: Path, scratch: Path, model: Path, guard: Guard
) -> None:
    code = "import os; print(open('/proc/self/status').read()); print(sum(n.isdigit() for n in os.listdir('/proc')))"
    said = ask(tmp_path, guard, code).done.stdout.decode()
    assert "CapEff:\t0000000000000000" in said
    assert int(said.split()[-1]) <= 3


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("guard", MACHINES)
def test_there_is_no_network(tmp_path: Path, scratch: Path, model: Path, guard: Guard, listener: int) -> None:
    refused = ask(tmp_path, guard, f"import socket; socket.create_connection(('127.0.0.1', {listener}), timeout=5)")
    assert b"OSError" in refused.done.stderr or b"ConnectionRefused" in refused.done.stderr


BOMB = """
import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        made += 1
except OSError as error:
    print(made, error.strerror)
"""


def test_processes_are_bounded_and_end_with_the_worker(tmp_path: Path, scratch: Path, model: Path) -> None:
    before = worker_groups()
    said = ask(tmp_path, Guard.NAMESPACES, BOMB, MBUILD_WORKER_PROCESSES="50").done.stdout.split()
    assert 10 < int(said[0]) <= 50, said
    new = worker_groups() - before
    assert all(Path("/proc", path.name.rpartition("-")[2]).exists() for path in new), "no cgroup stays behind"


def worker_groups() -> set[Path]:
    return {path for path in Path("/sys/fs/cgroup").rglob("mbuild-worker-*") if path.is_dir()}


def test_what_a_killed_maker_left_is_removed_by_the_next(tmp_path: Path, scratch: Path, model: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left = Cgroup.make_for_processes(10, f"mbuild-worker-{ended.stdout.strip()}")
    if left is None:  # v2 counts processes in the group that limits memory
        left = Cgroup.make(1 << 30, f"mbuild-worker-{ended.stdout.strip()}")
    ask(tmp_path, Guard.NAMESPACES, BOMB, MBUILD_WORKER_PROCESSES="50")
    assert left is None or not left.path.exists()


def job(python: Path, scratch: Path, timeout: float = 20) -> WorkerJob:
    return WorkerJob(worker="test", python=python, request={}, scratch=scratch, timeout=timeout)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    source = tmp_path / "workers" / "test.py"
    source.parent.mkdir()
    monkeypatch.setattr("builder.convert.worker.worker_source", lambda name: source)
    return lambda code: (source.write_text(code), None)[1]


def host_with(tmp_path: Path, **environ: str) -> Host:
    return real_host(tmp_path / "cache", environ)


def test_memory_is_bounded_and_the_message_says_so(
    tmp_path: Path, scratch: Path, worker: Callable[[str], None]
) -> None:
    worker("keep = [bytearray(b'x' * (16 << 20)) for _ in range(100)]")
    with pytest.raises(WorkerOutOfMemory, match="test needed more than 268 MB of memory") as caught:
        run_worker(job(PYTHON, scratch), host_with(tmp_path, MBUILD_WORKER_MEMORY="256M"))
    assert "MBUILD_WORKER_MEMORY" in caught.value.advice
    assert caught.value.exit_code == 5


def test_time_is_bounded_and_nothing_goes_on(tmp_path: Path, scratch: Path, worker: Callable[[str], None]) -> None:
    worker("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(77)'])")
    with pytest.raises(WorkerTimeout, match=r"within 1 s"):
        run_worker(job(PYTHON, scratch, 1), host_with(tmp_path))
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [command for command in commands if b"time.sleep(77)" in command]


def test_a_link_in_place_of_the_answer_is_not_followed(
    tmp_path: Path, scratch: Path, canary: Path, worker: Callable[[str], None]
) -> None:
    canary.write_text('{"value": {"secret": 1}}')
    worker(f"import os, sys\nos.symlink({str(canary)!r}, sys.argv[2])")
    with pytest.raises(WorkerCrashed):
        run_worker(job(PYTHON, scratch), host_with(tmp_path))


def test_a_link_in_the_output_is_refused(tmp_path: Path, scratch: Path, canary: Path) -> None:
    output, kept = scratch / "output", tmp_path / "kept"
    output.mkdir()
    kept.mkdir()
    (output / "model.onnx").symlink_to(canary)
    with pytest.raises(WorkerOutputRefused, match=r"model\.onnx, which is no regular file"):
        take_output(job(PYTHON, scratch), output, kept)
    assert not list(kept.iterdir())


def test_who_needs_a_guard_is_refused_where_there_is_none(tmp_path: Path, scratch: Path) -> None:
    host = replace(real_host(tmp_path / "cache", {}), run=Weakened())
    within = Confinement(readable=python_places(PYTHON), writable=scratch, seconds=20, least=Guard.BUBBLEWRAP)
    with pytest.raises(SandboxUnavailable, match="namespaces are not allowed; bubblewrap is not installed"):
        run_confined((str(PYTHON), "-c", "print(1)"), {}, within, host)
    ended = run_confined((str(PYTHON), "-c", "print(1)"), {}, replace(within, least=Guard.NONE), host)
    assert (ended.guard, ended.done.stdout) == (Guard.NONE, b"1\n")


@pytest.mark.parametrize("text", ["much", "-1", "0", "1T"])
def test_a_limit_that_is_none(tmp_path: Path, scratch: Path, text: str) -> None:
    within = Confinement(readable=(), writable=scratch, seconds=20)
    with pytest.raises(BadLimit, match="MBUILD_WORKER_MEMORY"):
        run_confined((str(PYTHON),), {}, within, host_with(tmp_path, MBUILD_WORKER_MEMORY=text))
