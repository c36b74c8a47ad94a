"""A server's processes as the kernel sees them (proc(5)): the whole tree, its CPU time and its memory."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_KILL_AFTER = 5.0
_QUIET_TICKS = 1


def tree(session: int) -> list[int]:
    """Processes of the session that ``session`` leads, and all that descend from one of them."""
    parents: dict[int, int] = {}
    found = set()
    for pid, fields in _stats():
        parents[pid] = int(fields[1])
        if int(fields[3]) == session:
            found.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        found |= more
        grown = bool(more)
    return sorted(found)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Each process with the fields of its stat file from the third on; the second may have any character in it."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError):
                yield int(place.name), stat_fields((place / "stat").read_text())


def stat_fields(line: str) -> list[str]:
    """From ``state`` on: parent is 1, session is 3, user and system time are 11 and 12."""
    return line.rpartition(")")[2].split()


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of all their threads so far."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = stat_fields(Path(f"/proc/{pid}/stat").read_text())
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def busy_seconds() -> float:
    """All that this machine's processors did so far, but for what this process's ended children did."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, hard, soft = (int(word) for word in words[:7])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + hard + soft) / _TICKS - children.ru_utime - children.ru_stime


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size: pages that several of them share count once."""
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def settle(session: int, seconds: float = 3.0) -> None:
    """Waits, at most so long, until the tree uses next to no CPU: a server may go on with what nobody waits for."""
    end = time.monotonic() + seconds
    spent = cpu_seconds(tree(session))
    while time.monotonic() < end:
        time.sleep(0.1)
        now = cpu_seconds(tree(session))
        if now - spent <= _QUIET_TICKS / _TICKS:
            return
        spent = now


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole tree that ``process`` leads: asked first, killed after a while."""
    born = {pid: _born(pid) for pid in tree(process.pid)}
    _signal(born, signal.SIGTERM)
    deadline = time.monotonic() + _KILL_AFTER
    while time.monotonic() < deadline and (process.poll() is None or any(_is_there(*each) for each in born.items())):
        time.sleep(0.02)
    _signal({pid: _born(pid) for pid in tree(process.pid)} | born, signal.SIGKILL)
    process.wait()


def _signal(born: dict[int, str], number: signal.Signals) -> None:
    for pid, moment in born.items():
        with suppress(ProcessLookupError):
            if _is_there(pid, moment):
                os.kill(pid, number)


def _is_there(pid: int, moment: str) -> bool:
    return moment != "" and _born(pid) == moment


def _born(pid: int) -> str:
    """When it started: a number is given again to another process, the moment is not. Empty for one that has ended."""
    with suppress(OSError):
        fields = stat_fields(Path(f"/proc/{pid}/stat").read_text())
        return "" if fields[0] == "Z" else fields[19]
    return ""
