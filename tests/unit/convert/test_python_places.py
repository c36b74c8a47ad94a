"""What a Python needs to see in the sandbox, and that it sees no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.convert.sandbox import python_places


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Of a Python as it is installed, with a link to itself."""
    (tmp_path / "base" / "bin").mkdir(parents=True)
    (tmp_path / "base" / "bin" / "python3.12").touch(mode=0o755)
    (tmp_path / "base" / "bin" / "python").symlink_to("python3.12")
    return tmp_path / "base"


def virtual(place: Path, base: Path) -> Path:
    (place / "bin").mkdir(parents=True)
    (place / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\nversion = 3.12\n")
    (place / "bin" / "python").symlink_to(base / "bin" / "python")
    return place


def test_a_plain_python_is_its_prefix(base: Path) -> None:
    assert python_places(base / "bin" / "python") == (base,)


def test_a_virtual_environment_brings_the_python_behind_it(base: Path, tmp_path: Path) -> None:
    mine = virtual(tmp_path / "mine", base)
    assert python_places(mine / "bin" / "python") == (mine, base)


def test_one_of_another_brings_all_that_its_links_lead_through(base: Path, tmp_path: Path) -> None:
    first = virtual(tmp_path / "first", base)
    (tmp_path / "second" / "bin").mkdir(parents=True)
    (tmp_path / "second" / "bin" / "python").symlink_to(first / "bin" / "python")
    assert python_places(tmp_path / "second" / "bin" / "python") == (tmp_path / "second", first, base)


def test_a_link_that_lies_alone_does_not_show_what_is_around_its_directory(base: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "python").symlink_to(base / "bin" / "python")
    assert python_places(tmp_path / "alone" / "python") == (tmp_path / "alone", base)


def test_a_home_is_never_shown_whole(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(base))
    assert python_places(base / "bin" / "python") == (base / "bin", base / "lib")


def test_the_system_is_seen_anyway() -> None:
    assert Path("/usr") not in python_places(Path("/usr/bin/python3"))
