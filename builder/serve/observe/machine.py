"""Figures of this process, of its container and of the machine, read when they are asked for.

The machine's come under Triton's names. What a kernel does not tell (no /proc, no cgroup) is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from .exposition import Family, counter, gauge

_STARTED = time.time()


class Machine:
    """Remembers the last look at the processors, since utilisation is between two."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = (0, 0)
        self._busy = 0.0

    def families(self) -> Iterator[Family]:
        for part in (_times, _process, self._machine, _container):
            try:
                yield from tuple(part(self._root))
            except (OSError, ValueError, KeyError, IndexError):
                continue

    def _machine(self, root: Path) -> Iterator[Family]:
        ticks = [int(each) for each in (root / "proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        total, idle = sum(ticks), ticks[3] + ticks[4]
        spent, waited = total - self._before[0], idle - self._before[1]
        if spent > 0:
            self._busy, self._before = min(1.0, max(0.0, 1 - waited / spent)), (total, idle)
        yield gauge(
            "nv_cpu_utilization", "CPU utilization rate of the machine since the last look [0.0 - 1.0]", self._busy
        )
        memory = {line.split(":")[0]: line.split()[1] for line in (root / "proc/meminfo").read_text().splitlines()}
        whole, free = (1024 * int(memory[name]) for name in ("MemTotal", "MemAvailable"))
        yield gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM) of the machine, in bytes", whole)
        yield gauge("nv_cpu_memory_used_bytes", "CPU used memory (RAM) of the machine, in bytes", whole - free)


def _times(_: Path) -> Iterator[Family]:
    times = os.times()
    spent = round(times.user + times.system, 2)
    yield counter("process_cpu_seconds_total", "User and system CPU time in seconds", spent)
    started = round(_STARTED, 3)
    yield gauge("process_start_time_seconds", "Start time since the epoch in seconds", started)


def _process(root: Path) -> Iterator[Family]:
    own = root / "proc/self"
    size, resident = (own / "statm").read_text().split()[:2]
    page = os.sysconf("SC_PAGE_SIZE")
    yield gauge("process_virtual_memory_bytes", "Virtual memory in bytes", int(size) * page)
    yield gauge("process_resident_memory_bytes", "Resident memory in bytes", int(resident) * page)
    yield gauge("process_open_fds", "Open file descriptors", len(os.listdir(own / "fd")))  # noqa: PTH208  the quickest
    limits = {line[:26].strip(): line[26:].split() for line in (own / "limits").read_text().splitlines()}
    if (most := limits["Max open files"][0]).isdigit():
        yield gauge("process_max_fds", "Largest number of open file descriptors", int(most))
    yield gauge("process_threads", "Threads", len(os.listdir(own / "task")))  # noqa: PTH208


def _container(root: Path) -> Iterator[Family]:
    """Of the cgroup that a container sees as the root of all (version 2, else version 1)."""
    group = root / "sys/fs/cgroup"
    for name, about, read in (
        ("memory_bytes", "Memory that the container uses, in bytes, with what the kernel caches for it", _memory),
        ("memory_working_set_bytes", "The same without what the kernel gives back first, in bytes", _working_set),
        ("memory_limit_bytes", "Memory that the container may use, in bytes", _memory_limit),
        ("cpu_limit_cores", "Processors that the container may use, by its quota", _quota),
    ):
        if (value := read(group)) is not None:
            yield gauge(f"mbuild_container_{name}", about, value)
    if (throttled := _throttled(group)) is not None:
        about = "Time that the container was ready to run and held back by its quota, in seconds"
        yield counter("mbuild_container_cpu_throttled_seconds_total", about, throttled)


def _memory(group: Path) -> float | None:
    return _number(_first(group, "memory.current", "memory/memory.usage_in_bytes"))


def _working_set(group: Path) -> float | None:
    """As the kubelet counts it, which is what a limit is compared with in the end: files read long ago are out."""
    used = _memory(group)
    lines = dict(line.split() for line in _first(group, "memory.stat", "memory/memory.stat").splitlines())
    idle = _number(lines.get("total_inactive_file", "") or lines.get("inactive_file", ""))
    return max(0, used - idle) if used is not None and idle is not None else None


def _memory_limit(group: Path) -> float | None:
    limit = _number(_first(group, "memory.max", "memory/memory.limit_in_bytes"))
    return limit if limit is not None and limit < 2**60 else None  # version 1 has a huge number for none


def _quota(group: Path) -> float | None:
    words = _first(group, "cpu.max").split() or [
        _first(group, "cpu/cpu.cfs_quota_us"),
        _first(group, "cpu/cpu.cfs_period_us"),
    ]
    quota, period = map(_number, words)
    return quota / period if quota and period else None


def _throttled(group: Path) -> float | None:
    lines = dict(line.split() for line in _first(group, "cpu.stat", "cpu/cpu.stat").splitlines())
    if "throttled_usec" in lines:
        return int(lines["throttled_usec"]) / 1e6
    return int(lines["throttled_time"]) / 1e9 if "throttled_time" in lines else None


def _first(group: Path, *names: str) -> str:
    """The content of the first of these files that can be read."""
    for name in names:
        try:
            return (group / name).read_text().strip()
        except OSError:
            continue
    return ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
