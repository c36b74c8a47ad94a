"""How many CPUs this container may use: the smaller of its affinity and its cgroup quota (v1 and v2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available(root: Path = Path("/")) -> int:
    """At least 1; a quota of 1.5 CPUs gives 2, since a thread that waits for its share costs little."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in _quotas(root) if quota > 0]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _quotas(root: Path) -> Iterator[float]:
    """The quota of each cgroup from the process's own up to the root: a parent's limit holds too."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups = [PurePosixPath(path), *PurePosixPath(path).parents]
        if number == "0" and not controllers:
            for group in groups:
                yield _v2(root / "sys/fs/cgroup" / str(group).lstrip("/"))
        elif "cpu" in controllers.split(","):
            for group in groups:
                yield _v1(root / "sys/fs/cgroup" / controllers / str(group).lstrip("/"))
                yield _v1(root / "sys/fs/cgroup/cpu" / str(group).lstrip("/"))


def _v2(group: Path) -> float:
    match _read(group / "cpu.max").split():
        case [quota, period] if quota.isdigit() and period.isdigit() and int(period):
            return int(quota) / int(period)
    return 0.0


def _v1(group: Path) -> float:
    quota, period = _read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else 0.0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
