"""A memory cgroup of our own (v1 or v2), so that the limit, the peak and a kill by the kernel are exact."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from builder.probe.sandbox.kernel import step


class Cgroup:
    """``kind`` is "cgroup-v1" or "cgroup-v2"."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    @classmethod
    def make(cls, limit: int) -> Cgroup | None:
        """A cgroup with a limit in bytes, swap included, below our own; None where we may not make one."""
        for parent, kind in _parents():
            group = cls(parent / f"mbuild-probe-{os.getpid()}", kind)
            try:
                group.path.mkdir()
            except OSError:
                continue
            try:
                group._limit(str(limit))
            except OSError:
                group.remove()
                continue
            return group
        return None

    def _limit(self, size: str) -> None:
        v1 = self.kind == "cgroup-v1"
        (self.path / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(size)
        swap, value = ("memory.memsw.limit_in_bytes", size) if v1 else ("memory.swap.max", "0")
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (self.path / swap).write_text(value)

    def add(self, pid: int) -> None:
        with step("put the container below its memory limit"):
            (self.path / "cgroup.procs").write_text(str(pid))

    @property
    def has_killed(self) -> bool:
        """Whether the kernel killed something in it for lack of memory."""
        events = self.path / ("memory.oom_control" if self.kind == "cgroup-v1" else "memory.events")
        counts = dict(line.split() for line in events.read_text().splitlines())
        return int(counts.get("oom_kill", "0")) > 0

    def remove(self) -> None:
        for _ in range(100):  # a process that is dying is still counted for a moment
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return


def _parents() -> Iterator[tuple[Path, str]]:
    """Cgroups that may have a child with a memory limit: our own, and for v2 the nearest that delegates memory."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        for _, place, kind, options, *_ in mounts:
            group = Path(place, own.lstrip("/"))
            if kind == "cgroup" and controllers == "memory" and "memory" in options.split(","):
                yield (group if group.is_dir() else Path(place)), "cgroup-v1"
            elif kind == "cgroup2" and not controllers:
                yield from ((parent, "cgroup-v2") for parent in (group, *group.parents) if _delegates_memory(parent))


def _delegates_memory(group: Path) -> bool:
    try:
        return "memory" in (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
