"""The test services end what they started and nothing else; a skip is a failure where CI=true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemons import Daemon, DidNotStart, recall, remember, start_daemon

ROOT = Path(__file__).resolve().parents[2]


def test_a_daemon_is_remembered_and_ended(tmp_path: Path) -> None:
    daemon = start_daemon(["sleep", "60"], tmp_path / "log", {"A": "1"}, lambda: True)
    remember(daemon, tmp_path / "record")
    assert recall(tmp_path / "record") == daemon
    daemon.stop()
    assert not daemon.alive
    assert recall(tmp_path / "record") is None


def test_another_process_with_the_same_pid_is_left_alone() -> None:
    ours = subprocess.Popen(["sleep", "60"])
    try:
        stranger = Daemon(ours.pid, birth="0", env={})
        stranger.stop()
        assert not stranger.alive
        assert ours.poll() is None
    finally:
        ours.kill()
        ours.wait()


def test_a_daemon_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(DidNotStart, match="out of luck"):
        start_daemon(["sh", "-c", "echo out of luck"], tmp_path / "log", {}, lambda: False)


@pytest.mark.parametrize(("ci", "status", "line"), [("", 0, "1 skipped"), ("true", 1, "1 failed")])
def test_a_skip_is_a_failure_in_ci(tmp_path: Path, ci: str, status: int, line: str) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\n\n\ndef test_it() -> None:\n    pytest.skip('no reason')\n")
    rules = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *rules, str(tmp_path / "test_it.py")],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, line in done.stdout) == (status, True), done.stdout + done.stderr
