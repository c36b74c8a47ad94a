"""What ``--env`` takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from builder.cli.options import NoOwnPython, convert_options, own_python


def test_it_is_the_program_that_was_named_and_not_what_it_links_to(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    assert own_python(f"python={tmp_path}/python") == tmp_path / "python"
    assert convert_options(False, False, None, False, "").python is None


def test_it_may_be_said_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert own_python("python=python") == tmp_path / "python"


@pytest.mark.parametrize("given", ["python", "python=", "python=/nowhere/python", "python=/", "conda=x", "=/bin/sh"])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(NoOwnPython, match="python=PATH") as caught:
        own_python(given)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python").touch(mode=0o644)
    with pytest.raises(NoOwnPython):
        own_python(f"python={tmp_path}/python")
