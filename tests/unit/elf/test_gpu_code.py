"""GPU code in ELF files: what is there, and which devices take it."""

from __future__ import annotations

import io

import pytest

from builder.elf.gpu_code import GpuCode, read_gpu_code, runs_on
from tests.support.elves import fat_binary

NAMES = ("sm_75", "sm_80", "sm_90a", "sm_100f", "compute_120", "compute_90a")


def code(*names: str) -> tuple[GpuCode, ...]:
    return tuple(map(GpuCode.named, names))


def read(content: bytes) -> list[str]:
    return [str(one) for one in read_gpu_code(io.BytesIO(content), [(0, len(content))])]


def test_names() -> None:
    assert [str(one) for one in code(*NAMES)] == list(NAMES)
    for wrong in ("sm_9", "sm_90b", "compute_", "90", ""):
        with pytest.raises(ValueError, match="no GPU code"):
            GpuCode.named(wrong)


def test_each_code_is_told_once_in_order() -> None:
    content = fat_binary(code("sm_90a", "sm_75")) + bytes(40) + fat_binary(code("sm_75", "compute_120"))
    assert read(content) == ["sm_75", "sm_90a", "compute_120"]


def test_only_the_sections_named_are_read() -> None:
    first, second = fat_binary(code("sm_75")), fat_binary(code("sm_80"))
    found = read_gpu_code(io.BytesIO(first + second), [(len(first), len(second))])
    assert found == code("sm_80")


def test_what_is_no_fat_binary_is_passed_over() -> None:
    assert read(b"") == read(bytes(64)) == read(b"anything at all, but no header here") == []
    whole = fat_binary(code("sm_75", "sm_80"))
    assert read(whole[:40]) == [] and read(whole[:100]) == ["sm_75"]
    assert read(whole[:16] + bytes(200)) == [], "entries of no length end it"


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("sm_80", [(8, 0), (8, 6), (8, 9)], [(7, 5), (9, 0)]),
        ("sm_86", [(8, 6), (8, 9)], [(8, 0)]),
        ("sm_90a", [(9, 0)], [(8, 9), (10, 0)]),
        ("sm_100a", [(10, 0)], [(10, 3)]),
        ("sm_100f", [(10, 0), (10, 3)], [(12, 0)]),
        ("compute_90", [(9, 0), (12, 1)], [(8, 9)]),
        ("compute_90a", [(9, 0)], [(10, 0)]),
        ("compute_100f", [(10, 0), (10, 3)], [(12, 0)]),
    ],
)
def test_which_devices_take_it(name: str, yes: list[tuple[int, int]], no: list[tuple[int, int]]) -> None:
    assert all(runs_on(code(name), device) for device in yes)
    assert not any(runs_on(code(name), device) for device in no)
