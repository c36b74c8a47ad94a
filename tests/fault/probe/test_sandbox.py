"""The embedded runner leaves nothing behind, however its caller ends, as root and as an ordinary user; and it says what
stands in its way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from builder.probe.embedded import EmbeddedRunner
from builder.probe.runner import Limits, ProbedImage, Unstartable
from tests.support.containers import PYTHON, python_image
from tests.support.hosts import real_host

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="the embedded runner needs Linux"),
]
ROOT = Path(__file__).resolve().parents[3]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may use (pytest's own are closed to others)."""
    path = Path(tempfile.mkdtemp(prefix="mbuild-test-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["myself", "nobody"])
def caller(request: pytest.FixtureRequest, place: Path) -> Callable[[ProbedImage], subprocess.Popen[str]]:
    """Starts run_image.py as a user with a cache in ``place``."""
    prefix = () if request.param == "myself" else _as_nobody()

    def start(image: ProbedImage) -> subprocess.Popen[str]:
        python = "/usr/bin/python3" if prefix else sys.executable
        argv = [*prefix, python, str(ROOT / "tests/support/scripts/run_image.py"), str(image.layout.path)]
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if "site-packages" in entry)])
        environ = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        argv += [str(place / "cache")]
        return subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    return start


def _as_nobody() -> tuple[str, ...]:
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody; the other runs are those of an ordinary user")
    test = [*NOBODY, "/usr/bin/python3", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not shutil.which("setpriv") or subprocess.run(test, check=False).returncode:
        pytest.skip("nobody has no Python from 3.11 on at /usr/bin/python3, or there is no setpriv")
    return NOBODY


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def traces(place: Path) -> list[str]:
    """Processes, mounts and cgroups that have to do with a runner whose cache is in ``place``."""
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and str(place).encode() in (entry / "cmdline").read_bytes():
                processes.append(f"process {entry.name}")
            if entry.name.isdecimal() and str(place) in (entry / "mountinfo").read_text():
                processes.append(f"mount of {entry.name}")
        except OSError:
            continue
    groups = [str(path) for path in cgroups(place)]
    left = [str(path) for path in (place / "cache/probe").glob("*")]
    return processes + groups + left


def cgroups(place: Path) -> list[Path]:
    """All whose keeper has its cache in ``place`` or is no more; other tests may have containers at the same time."""

    def is_others(keeper: str) -> bool:
        try:
            return str(place).encode() not in Path(f"/proc/{keeper}/cmdline").read_bytes()
        except OSError:
            return False

    found = Path("/sys/fs/cgroup").rglob("mbuild-probe-*")
    return [group for group in found if not is_others(group.name.rpartition("-")[2])]


def gone(place: Path, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while traces(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert traces(place) == []
    return True


Caller = Callable[[ProbedImage], "subprocess.Popen[str]"]


def test_an_image_runs_and_leaves_nothing(caller: Caller, host: Host, place: Path) -> None:
    process = caller(python_image(host, place, "looks_around"))
    started = answer(process)
    assert started["address"][0] == "127.0.0.1"
    assert traces(place)
    process.communicate("stop\n", timeout=60)
    assert process.returncode == 0
    assert gone(place)


def test_the_memory_limit_holds_with_and_without_a_cgroup(caller: Caller, host: Host, place: Path) -> None:
    process = caller(python_image(host, place, "fake_server", env={"MISBEHAVIOUR": "hungry"}))
    limit = answer(process)["memory_limit"]
    output, _ = process.communicate("wait\n", timeout=60)
    said = json.loads(output)
    if limit == "rlimit":
        assert (said["code"], "MemoryError" in said["log"]) == (1, True)
    else:
        assert said["code"] == 137
    assert gone(place)


def test_a_caller_that_is_killed_leaves_nothing(caller: Caller, host: Host, place: Path) -> None:
    process = caller(python_image(host, place, "fake_server", env={"MISBEHAVIOUR": "deaf"}))
    answer(process)
    assert traces(place)
    process.kill()
    process.communicate()
    assert gone(place)


def test_a_caller_that_is_killed_while_it_unpacks_leaves_nothing(caller: Caller, host: Host, place: Path) -> None:
    process = caller(python_image(host, place, "fake_server"))
    deadline = time.monotonic() + 20
    while sum(trace.startswith("process") for trace in traces(place)) < 2 and time.monotonic() < deadline:
        pass
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert gone(place)


def test_what_was_abandoned_long_ago_is_removed(host: Host, place: Path) -> None:
    old, new = place / "cache/probe/old", place / "cache/probe/new"
    for path in (old, new):
        path.mkdir(parents=True)
    os.utime(old, (0, 0))
    with closing(EmbeddedRunner(real_host(place / "cache")).start(python_image(host, place, "fake_server"), Limits())):
        assert (old.exists(), new.exists()) == (False, True)
    new.rmdir()


def test_a_keeper_that_is_killed_takes_the_container_along(host: Host, place: Path) -> None:
    image = python_image(host, place, "fake_server")
    with closing(EmbeddedRunner(real_host(place / "cache")).start(image, Limits())) as running:
        keepers = [text.split()[1] for text in traces(place) if text.startswith("process")]
        for pid in keepers:
            os.kill(int(pid), signal.SIGKILL)
        deadline = time.monotonic() + 10
        while running.state().running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not running.state().running
    for group in cgroups(place):
        group.rmdir()  # it would fail if a process of the container were left
    assert gone(place)


@pytest.mark.parametrize(
    ("entrypoint", "text"),
    [
        (("/usr/bin/no-such-program",), "run /usr/bin/no-such-program: No such file or directory"),
        (("no-such-program",), "run no-such-program: No such file or directory"),
        (("/app/main.py",), "run /app/main.py: Permission denied"),
    ],
)
def test_an_image_that_cannot_start_says_why(host: Host, place: Path, entrypoint: tuple[str, ...], text: str) -> None:
    image = python_image(host, place, "looks_around", entrypoint=entrypoint)
    with pytest.raises(Unstartable, match=text) as raised:
        EmbeddedRunner(real_host(place / "cache")).start(image, Limits())
    assert raised.value.exit_code == 9
    assert gone(place)


def test_an_image_of_root_runs_as_root_without_its_powers(host: Host, place: Path) -> None:
    image = python_image(host, place, "looks_around", user="", entrypoint=(PYTHON, "/app/main.py"))
    with closing(EmbeddedRunner(real_host(place / "cache")).start(image, Limits())) as running:
        deadline = time.monotonic() + 20
        while not running.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        seen = json.loads(running.log())
    assert seen["ids"] == [0, 0]
    assert seen["capabilities"] == ["0000000000000000"] * 5
    assert seen["write root"] == "Read-only file system"
    assert seen["chroot"] == "Operation not permitted"


def test_a_kernel_that_refuses_user_namespaces_is_named(host: Host, place: Path) -> None:
    """The limit on namespaces belongs to a user namespace, so one of our own can have it at 0."""
    image = python_image(host, place, "looks_around")
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    program = [sys.executable, str(ROOT / "tests/support/scripts/run_image.py"), str(image.layout.path)]
    refused = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, *program, str(place / "cache")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = json.loads(refused.stdout)
    assert said["code"] == "sandbox-refused"
    assert "make user, pid and network namespaces: No space left on device" in said["message"]
    assert gone(place)
