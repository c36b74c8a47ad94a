"""Threads and bodies follow the container's quota and memory, not the host's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.serve.limits import available, largest_body, memory


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_cgroup_means_the_affinity(tmp_path: Path) -> None:
    assert available(tmp_path) == 8


@pytest.mark.parametrize(("limit", "threads"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1)])
def test_version_2(tmp_path: Path, limit: str, threads: int) -> None:
    write(tmp_path, proc__self__cgroup="0::/\n", sys__fs__cgroup__cpu_dot_max=limit + "\n")
    assert available(tmp_path) == threads


def test_version_2_takes_the_smallest_of_its_parents(tmp_path: Path) -> None:
    write(tmp_path, proc__self__cgroup="0::/pod/app\n")
    write(
        tmp_path, sys__fs__cgroup__pod__app__cpu_dot_max="max 100000", sys__fs__cgroup__pod__cpu_dot_max="300000 100000"
    )
    assert available(tmp_path) == 3


@pytest.mark.parametrize(("quota", "threads"), [("-1", 8), ("400000", 4)])
def test_version_1(tmp_path: Path, quota: str, threads: int) -> None:
    group = tmp_path / "sys/fs/cgroup/cpu,cpuacct"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota)
    (group / "cpu.cfs_period_us").write_text("100000")
    write(tmp_path, proc__self__cgroup="4:cpu,cpuacct:/\n3:memory:/\n")
    assert available(tmp_path) == threads


MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("limit", "is_said"), [("max", False), ("268435456", True), (str(2**62), False)])
def test_memory_of_version_2(tmp_path: Path, limit: str, is_said: bool) -> None:
    write(tmp_path, proc__self__cgroup="0::/pod/app\n", sys__fs__cgroup__pod__memory_dot_max=limit + "\n")
    assert memory(tmp_path) == (int(limit) if is_said else MACHINE)


@pytest.mark.parametrize(("limit", "is_said"), [("9223372036854771712", False), ("134217728", True)])
def test_memory_of_version_1(tmp_path: Path, limit: str, is_said: bool) -> None:
    write(tmp_path, proc__self__cgroup="4:memory:/app\n", sys__fs__cgroup__memory__app__memory_dot_limit_in_bytes=limit)
    assert memory(tmp_path) == (int(limit) if is_said else MACHINE)


@pytest.mark.parametrize(("megabytes", "body"), [(64_000, 64 * 2**20), (240, 10 * 2**20), (0, 1)])
def test_the_largest_body_leaves_half_of_the_memory(megabytes: int, body: int) -> None:
    assert largest_body(megabytes * 2**20) == body
