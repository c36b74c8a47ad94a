"""What every worker gets and owes: a clean environment, no network, a JSON answer, its own words when it fails."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.convert.worker import WorkerAnswer, WorkerCrashed, WorkerFailed, WorkerJob, WorkerTimeout, run_worker
from builder.host import Host
from tests.support.hosts import real_host

PROXIES = {"HTTPS_PROXY": "http://proxy.example", "PIP_INDEX_URL": "https://u:p@i.example", "HOME": "/root"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path / "cache", PROXIES)


def run(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, **job: Any) -> WorkerAnswer:
    """Run a worker that is just ``body``, with ``asked`` (its request) and ``answer(value)``."""
    source = tmp_path / "worker.py"
    source.write_text(
        "import json, os, sys, pathlib\n"
        "asked = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "def answer(value): pathlib.Path(sys.argv[2]).write_text(json.dumps(value))\n" + textwrap.dedent(body)
    )
    monkeypatch.setattr("builder.convert.worker.worker_source", lambda name: source)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    request: Mapping[str, object] = {"number": 7}
    return run_worker(
        WorkerJob(worker="test", python=Path(sys.executable), request=request, scratch=scratch, **job), host
    )


def test_a_request_is_answered(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "answer({'value': {'double': asked['number'] * 2}, 'versions': {'thing': '1.0'}})"
    assert run(host, tmp_path, monkeypatch, body) == WorkerAnswer(value={"double": 14}, versions={"thing": "1.0"})


def test_the_environment_is_clean(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    seen = run(host, tmp_path, monkeypatch, "answer({'value': {'env': dict(os.environ), 'path': sys.path}})").value
    allowed = {"HOME", "TMPDIR", "LC_ALL", "LC_CTYPE", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"}
    assert {name for name in seen["env"] if not name.startswith("PYTHON")} <= allowed
    assert seen["env"]["HOME"].startswith(str(tmp_path / "scratch"))
    assert str(tmp_path) not in seen["path"]


def test_a_failure_keeps_the_workers_words(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = {"failure": {"kind": "bad-model", "message": "layer 7 is odd"}, "versions": {"thing": "1.0", "a": "2"}}
    with pytest.raises(WorkerFailed, match=r"test failed \(bad-model\): layer 7 is odd") as caught:
        run(host, tmp_path, monkeypatch, f"answer({failure!r})")
    assert caught.value.advice == "versions used: a 2, thing 1.0"
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise RuntimeError('out of ideas')", "RuntimeError: out of ideas"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", r"signal 9 \(SIGKILL\)"),
        ("sys.exit(0)", "status 0 and no answer: it said nothing"),
        ("pathlib.Path(sys.argv[2]).write_text('{\"val')", "no answer"),
    ],
)
def test_a_crash_keeps_the_last_words(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    with pytest.raises(WorkerCrashed, match=words):
        run(host, tmp_path, monkeypatch, body)


def test_a_worker_that_hangs_is_stopped(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkerTimeout, match=r"within 0\.5 s"):
        run(host, tmp_path, monkeypatch, "import time; time.sleep(60)", timeout=0.5)


OUTSIDE = """
import socket
try:
    socket.create_connection(("127.0.0.1", asked["port"]), timeout=5)
    answer({"value": {"reached": True}})
except OSError as error:
    answer({"value": {"reached": False, "error": str(error)}})
"""


def reached(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        body = OUTSIDE.replace('asked["port"]', str(server.getsockname()[1]))
        return bool(run(host, tmp_path, monkeypatch, body).value["reached"])


def test_there_is_no_network(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.host.run import Command

    unshare = host.run.which("unshare")
    if unshare is None or not host.run.run(Command(argv=(str(unshare), "--user", "--net", "true"))).ok:
        pytest.skip("this machine lets nobody cut the network (user namespaces)")
    assert not reached(host, tmp_path, monkeypatch)


def test_where_it_cannot_be_cut_the_worker_runs_all_the_same(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "unshare"
    refusing.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)

    class Refused(type(host.run)):  # type: ignore[misc]
        def which(self, program: str) -> Path | None:
            return refusing

    assert reached(replace(host, run=Refused()), tmp_path, monkeypatch)
