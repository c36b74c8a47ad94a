"""What every part of the bench needs: a line of the table, the command under test, and how long things took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.memory import Memory, MemoryWatch

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "mbuild"
RUNS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table: what, the figure, and against what."""

    what: str
    figure: str
    against: str


@dataclass(frozen=True)
class Mbuild:
    """The command on a cache of its own, with ``environ`` beside this process's."""

    cache: Path
    environ: Mapping[str, str]

    def run(self, *words: str | Path) -> Any:
        """The JSON result."""
        command = [str(COMMAND), *map(str, words), "--format", "json"]
        env = {**os.environ, "MBUILD_CACHE": str(self.cache), **self.environ}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout)


def seconds(action: Callable[[], object], runs: int = RUNS) -> float:
    """The median wall time."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@dataclass(frozen=True)
class Cost:
    """Of a command: wall ``seconds``, bytes that it ``read`` (files and pipes alike), and the most ``memory``."""

    result: Any
    seconds: float
    read: int
    memory: Memory


def cost(action: Callable[[], Any]) -> Cost:
    """Linux adds what a child read to its parent's account when it ends (proc(5), /proc/pid/io)."""
    before, began = _read_so_far(), time.perf_counter()
    with MemoryWatch() as watch:
        result = action()
        taken = time.perf_counter() - began
    return Cost(result, taken, _read_so_far() - before, watch.memory)


def _read_so_far() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])
