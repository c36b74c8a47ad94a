"""`mbuild MODEL_DIR` means `mbuild build MODEL_DIR`."""

from __future__ import annotations

import pytest

from builder.cli.app import with_build_as_default

COMMANDS = ["build", "plan", "base"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], []),
        (["./model"], ["build", "./model"]),
        (["--target", "cpu", "./model"], ["build", "--target", "cpu", "./model"]),
        (["plan", "./model"], ["plan", "./model"]),
        (["./plan"], ["build", "./plan"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["-h"], ["-h"]),
    ],
)
def test_a_first_word_that_is_no_command_is_a_model(given: list[str], meant: list[str]) -> None:
    assert with_build_as_default(given, COMMANDS) == meant
