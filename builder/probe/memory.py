"""How much memory a server used: the most that was resident of its process and of those that it started.

A cgroup's own peak also counts the page cache of every file that this cgroup happened to read first, so it tells the
order of runs on a machine, not the need of a server; it is only the fallback.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def peak_resident(pid: int) -> int | None:
    """VmHWM of the process and of its living descendants in bytes (proc(5)), what they share counted for each; None
    where this machine does not show it."""
    own = _peak(pid)
    return own + sum(peak_resident(child) or 0 for child in _children(pid)) if own is not None else None


def _peak(pid: int) -> int | None:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _children(pid: int) -> list[int]:
    """Of all its threads; none where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    with suppress(OSError):
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        return [int(child) for children in lists for child in children]
    return []
