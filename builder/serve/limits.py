"""What this container may use: processors and memory, the smallest of the machine's and its cgroups' (v1 and v2)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

_LARGEST_BODY = 64 * 2**20
_JSON_NEEDS = 12
"""Times its size: what a JSON body takes while it becomes tensors (its text, a Python number for each, the arrays)."""


def available(root: Path = Path("/")) -> int:
    """Processors, at least 1; a quota of 1.5 gives 2, since a thread that waits for its share costs little."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in _each_group(root, "cpu", _quota_v2, _quota_v1) if quota > 0]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def memory(root: Path = Path("/")) -> int:
    """Bytes."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [limit for limit in _each_group(root, "memory", _memory_v2, _memory_v1) if limit > 0]
    return int(min([machine, *limits]))


def largest_body(memory_bytes: int) -> int:
    """The request body that takes at most half of the memory, if it is JSON, and no more than 64 MiB."""
    return max(1, min(_LARGEST_BODY, memory_bytes // (2 * _JSON_NEEDS)))


def _each_group(
    root: Path, controller: str, v2: Callable[[Path], float], v1: Callable[[Path], float]
) -> Iterator[float]:
    """A limit of each cgroup from the process's own up to the root, since a parent's limit holds too; 0 for none."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups = [PurePosixPath(path), *PurePosixPath(path).parents]
        if number == "0" and not controllers:
            for group in groups:
                yield v2(root / "sys/fs/cgroup" / str(group).lstrip("/"))
        elif controller in controllers.split(","):
            for group in groups:
                yield v1(root / "sys/fs/cgroup" / controllers / str(group).lstrip("/"))
                yield v1(root / "sys/fs/cgroup" / controller / str(group).lstrip("/"))


def _quota_v2(group: Path) -> float:
    match _read(group / "cpu.max").split():
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period):
            return int(quota) / int(period)
    return 0.0


def _quota_v1(group: Path) -> float:
    quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0


def _memory_v2(group: Path) -> float:
    return _number(group / "memory.max")


def _memory_v1(group: Path) -> float:
    return _number(group / "memory.limit_in_bytes")


def _number(path: Path) -> float:
    text = _read(path).strip()
    return float(text) if text.isdigit() else 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
