"""The wheels of a plain model's steps, and whether a lock still answers what a handler asks for."""

from __future__ import annotations

import pytest

from builder.plan.wheel import LockedWheel
from builder.targets.steps import answers_all, step_requirements


def wheel(name: str, version: str) -> LockedWheel:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedWheel(name=name, version=version, filename=filename, sha256="0" * 64, size=1)


def test_a_step_brings_its_library_and_no_other() -> None:
    assert [pin.partition("==")[0] for pin in step_requirements({"tokenize", "pass"})] == ["tokenizers"]
    assert [pin.partition("==")[0] for pin in step_requirements({"image", "classify"})] == ["pillow"]
    assert step_requirements({"handler", "pass"}) == ()


@pytest.mark.parametrize(
    ("requirements", "answered"),
    [
        (("rapidfuzz>=3.9",), True),
        (("RapidFuzz==3.14.6", "python_dateutil"), True),
        (("rapidfuzz>=4",), False),
        (("regex",), False),
        (("regex; python_version < '3.0'",), True),
        (("rapidfuzz>=4; python_version > '3.0'",), False),
    ],
)
def test_a_lock_answers_or_not(requirements: tuple[str, ...], answered: bool) -> None:
    wheels = (wheel("python-dateutil", "2.9.0"), wheel("rapidfuzz", "3.14.6"))
    assert answers_all(wheels, requirements) is answered
