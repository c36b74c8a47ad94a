"""How much memory a server used: the most that was resident of its process.

A cgroup's own peak also counts the page cache of every file that this cgroup happened to read first, so it tells the
order of runs on a machine, not the need of a server; it is only the fallback.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def peak_resident(pid: int) -> int | None:
    """VmHWM of the process in bytes (proc(5)); None where this machine does not show it."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
