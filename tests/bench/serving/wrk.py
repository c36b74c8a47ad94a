"""wrk, the load generator: one body against one URL, over some connections, for some seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.serving.dialects import Request

_SCRIPT = Path(__file__).with_name("request.lua")
_TIMEOUT = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What came of it; times in seconds. ``errors`` are answers other than 2xx and 3xx and failed connections."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def require() -> None:
    """Ends with what to do where a program of the bench is missing."""
    missing = [package for program, package in (("wrk", "wrk"), ("bwrap", "bubblewrap")) if not shutil.which(program)]
    if missing:
        words = " ".join(missing)
        raise SystemExit(f"missing: {words}; on Debian: apt-get install --no-install-recommends {words}")


def load(port: int, request: Request, *, connections: int, seconds: float) -> Load:
    """Raises RuntimeError where wrk itself fails."""
    with tempfile.NamedTemporaryFile(prefix="mbuild-bench-") as body:
        body.write(request.body)
        body.flush()
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{_duration(seconds)}", "--timeout", f"{_TIMEOUT}s"]
        command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}{request.path}", "--", body.name, *headers]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2 * _TIMEOUT)
    if done.returncode:
        raise RuntimeError(f"wrk: {(done.stderr or done.stdout).strip()}")
    return parsed(done.stdout)


def _duration(seconds: float) -> str:
    """wrk knows whole seconds only."""
    return f"{max(1, round(seconds))}s"


def parsed(output: str) -> Load:
    """The line that ``request.lua`` writes at the end of what wrk says."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk said nothing of a result: {output.strip()[-300:]}")
    said = json.loads(lines[-1])
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50=said["p50"] / 1e6,
        p99=said["p99"] / 1e6,
        errors=sum(said[kind] for kind in ("statuses", "connect", "read", "write", "timeout")),
    )
