"""Locked wheels: their JSON, what an answer of uv says, and which of several files fits a platform."""

from __future__ import annotations

import json

import pytest

from builder.oci.platform import Platform
from builder.plan.wheel import LockedWheel
from builder.targets.pylock import OfferUnreadable, read_pylock
from builder.targets.wheels import UnsupportedWheelPlatform, best_offer, uv_platform

AMD64 = Platform.parse("linux/amd64")
ARM64 = Platform.parse("linux/arm64")
HASH = "ab" * 32
WHEEL = LockedWheel(name="a", version="1", filename="a-1-py3-none-any.whl", sha256=HASH, size=5)


def test_a_locked_wheel_survives_json() -> None:
    assert LockedWheel.from_json(json.loads(json.dumps(WHEEL.to_json()))) == WHEEL


@pytest.mark.parametrize(
    "change",
    [{"sha256": "AB" * 32}, {"sha256": "ab"}, {"size": "5"}, {"size": -1}, {"size": True}, {"filename": "../a.whl"}],
)
def test_a_malformed_one_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        LockedWheel.from_json({**WHEEL.to_json(), **change})


def test_a_field_that_is_missing_is_refused() -> None:
    with pytest.raises(KeyError):
        LockedWheel.from_json({"name": "a"})


PYLOCK = f"""
lock-version = "1.0"
[[packages]]
name = "a"
version = "1.0"
wheels = [
  {{ url = "https://i.example/f/a-1.0+cpu%2Dx-py3-none-any.whl?sig=1", size = 9, hashes = {{ sha256 = "{HASH}" }} }},
  {{ path = "/links/a-1.0-py3-none-any.whl", hashes = {{}} }},
]
[[packages]]
name = "b"
version = "2"
archive = {{ path = "b-2-py3-none-any.whl", hashes = {{ sha256 = "{HASH}" }} }}
"""


def test_a_pylock_is_read() -> None:
    found = [(offer.name, offer.filename, offer.sha256, offer.size) for offer in read_pylock(PYLOCK)]
    assert found == [
        ("a", "a-1.0+cpu-x-py3-none-any.whl", HASH, 9),
        ("a", "a-1.0-py3-none-any.whl", "", None),
        ("b", "b-2-py3-none-any.whl", HASH, None),
    ]


@pytest.mark.parametrize("text", ["][", "packages = 5", "[[packages]]\nname = 'a'\nwheels = [{}]"])
def test_another_answer_is_an_error(text: str) -> None:
    with pytest.raises(OfferUnreadable):
        read_pylock(text)


FILES = (
    "a-1-py3-none-any.whl",
    "a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "a-1-cp313-cp313-manylinux_2_28_x86_64.whl",
    "a-1-cp313-cp313-manylinux_2_39_x86_64.whl",
    "a-1-cp313-cp313t-manylinux_2_28_x86_64.whl",
    "a-1-cp312-abi3-manylinux_2_17_x86_64.whl",
    "a-1-cp314-cp314-manylinux_2_28_x86_64.whl",
    "a-1-cp313-cp313-musllinux_1_2_x86_64.whl",
    "a-1-cp313-cp313-manylinux_2_28_aarch64.whl",
    "a-1-cp313-cp313-macosx_11_0_arm64.whl",
)


def chosen(files: tuple[str, ...], python: str, platform: Platform, glibc: tuple[int, int]) -> str | None:
    wheels = ", ".join(f'{{ url = "https://i.example/{name}" }}' for name in files)
    offers = read_pylock(f'[[packages]]\nname = "a"\nversion = "1"\nwheels = [{wheels}]\n')
    best = best_offer(offers, python, platform, glibc)
    return best.filename if best else None


def test_the_most_specific_wheel_that_runs_is_chosen() -> None:
    assert chosen(FILES, "3.13.5", AMD64, (2, 41)) == FILES[3]
    assert chosen(FILES, "3.13", AMD64, (2, 36)) == FILES[2]
    assert chosen(FILES, "3.13", AMD64, (2, 17)) == FILES[1]
    assert chosen(FILES, "3.13", ARM64, (2, 41)) == FILES[8]
    assert chosen(FILES, "3.12", AMD64, (2, 41)) == FILES[5]
    assert chosen(FILES, "3.11", AMD64, (2, 41)) == FILES[0]
    assert chosen(FILES[3:], "3.13", ARM64, (2, 17)) is None


def test_the_order_of_the_index_does_not_matter() -> None:
    assert chosen(FILES[::-1], "3.13", AMD64, (2, 41)) == FILES[3]


def test_uv_is_asked_for_the_newest_glibc_that_it_knows() -> None:
    assert uv_platform(AMD64, (2, 41)) == "x86_64-manylinux_2_40"
    assert uv_platform(ARM64, (2, 30)) == "aarch64-manylinux_2_28"


@pytest.mark.parametrize(
    ("platform", "glibc"), [("linux/riscv64", (2, 41)), ("windows/amd64", (2, 41)), ("linux/amd64", (2, 5))]
)
def test_a_platform_without_wheels_is_refused(platform: str, glibc: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedWheelPlatform):
        uv_platform(Platform.parse(platform), glibc)
