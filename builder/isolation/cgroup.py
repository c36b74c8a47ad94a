"""Cgroups of our own (v1 or v2), so that a limit on memory or processes, and a kill by the kernel, are exact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from builder.isolation.kernel import step


class Cgroup:
    """``kind`` is "cgroup-v1" or "cgroup-v2"."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self.kind = path, kind

    @classmethod
    def make(cls, limit: int, name: str, processes: int = 0) -> Cgroup | None:
        """A cgroup ``name`` below our own with a limit of memory in bytes, swap included, and in v2 of processes (0:
        none); None where we may not make one."""

        def set_limits(group: Cgroup) -> None:
            group._limit_memory(str(limit))
            if processes and group.kind == "cgroup-v2":
                with contextlib.suppress(OSError):  # its parent may delegate memory alone
                    (group.path / "pids.max").write_text(str(processes))

        return cls._make("memory", name, set_limits)

    @classmethod
    def make_for_processes(cls, limit: int, name: str) -> Cgroup | None:
        """In v1, where each controller has its own groups: one with a limit of processes; else None."""

        def set_limits(group: Cgroup) -> None:
            if group.kind == "cgroup-v2":
                raise NotImplementedError
            (group.path / "pids.max").write_text(str(limit))

        return cls._make("pids", name, set_limits)

    @classmethod
    def _make(cls, controller: str, name: str, set_limits: Callable[[Cgroup], None]) -> Cgroup | None:
        for parent, kind in _parents(controller):
            _sweep(parent, name)
            group = cls(parent / name, kind)
            try:
                group.path.mkdir()
            except OSError:
                continue
            try:
                set_limits(group)
            except (OSError, NotImplementedError):
                group.remove()
                continue
            return group
        return None

    def _limit_memory(self, size: str) -> None:
        v1 = self.kind == "cgroup-v1"
        (self.path / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(size)
        swap, value = ("memory.memsw.limit_in_bytes", size) if v1 else ("memory.swap.max", "0")
        with contextlib.suppress(OSError):  # a kernel that does not count swap
            (self.path / swap).write_text(value)

    def add(self, pid: int) -> None:
        with step("put it below its limits"):
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


def _parents(controller: str) -> Iterator[tuple[Path, str]]:
    """Cgroups that may have a child limited by ``controller``: our own, and for v2 the nearest that delegates it."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        for _, place, kind, options, *_ in mounts:
            group = Path(place, own.lstrip("/"))
            if kind == "cgroup" and controller in controllers.split(",") and controller in options.split(","):
                yield (group if group.is_dir() else Path(place)), "cgroup-v1"
            elif kind == "cgroup2" and not controllers:
                yield from (
                    (parent, "cgroup-v2") for parent in (group, *group.parents) if _delegates(parent, controller)
                )


def _sweep(parent: Path, name: str) -> None:
    """Remove the groups that makers of the same kind left when they were killed: a name ends with its maker's pid."""
    kind = name.rpartition("-")[0]
    for left in parent.glob(f"{kind}-[0-9]*") if kind else ():
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            with contextlib.suppress(OSError):  # somebody of it still lives, or it is not ours
                left.rmdir()


def _delegates(group: Path, controller: str) -> bool:
    try:
        return controller in (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
