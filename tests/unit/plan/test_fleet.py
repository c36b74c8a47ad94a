"""A fleet is model directories on the command line, or a file that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.plan.fleet import EmptyFleet, FleetInvalid, Member, NoFleet, read_fleet


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("a", "b", "other/c"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "notes.txt").write_text("")
    return tmp_path / "models"


def write(directory: Path, text: str) -> Path:
    path = directory / "fleet.yaml"
    path.write_text(text)
    return path


def test_directories_are_members_as_they_come(models: Path) -> None:
    fleet = read_fleet([models / "b", models / "a"], registry="localhost:5000/team")
    assert [member.directory.name for member in fleet.members] == ["b", "a"]
    assert {member.target for member in fleet.members} == {"cpu"}
    assert fleet.registry == "localhost:5000/team"


def test_a_file_lists_patterns_and_what_differs(models: Path) -> None:
    path = write(
        models,
        "target: cpu\nregistry: localhost:5000/team\nmodels:\n"
        "  - '[ab]'\n  - {path: other/c, target: cuda12, tag: 'localhost:5000/c:2'}\n",
    )
    fleet = read_fleet([path])
    assert fleet.registry == "localhost:5000/team"
    assert fleet.members == (
        Member(directory=models / "a"),
        Member(directory=models / "b"),
        Member(directory=models / "other/c", target="cuda12", tag="localhost:5000/c:2"),
    )


def test_the_command_line_comes_before_the_top_of_the_file(models: Path) -> None:
    path = write(models, "target: cpu\nregistry: localhost:5000/team\nmodels: [a]\n")
    fleet = read_fleet([path], "cuda13", "localhost:6000/other")
    assert (fleet.members[0].target, fleet.registry) == ("cuda13", "localhost:6000/other")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: []\n", "models"),
        ("target: cpu\n", "models"),
        ("models: [a]\nmodel: [b]\n", "there is no such key"),
        ("- a\n", "mapping"),
    ],
)
def test_a_file_that_is_wrong_is_told_so(models: Path, text: str, problem: str) -> None:
    with pytest.raises(FleetInvalid, match=problem):
        read_fleet([write(models, text)])


def test_a_pattern_without_a_directory_is_refused(models: Path) -> None:
    with pytest.raises(EmptyFleet, match=r"z\*"):
        read_fleet([write(models, "models: ['z*']\n")])


def test_what_is_no_directory_is_refused(models: Path) -> None:
    with pytest.raises(NoFleet, match="nowhere"):
        read_fleet([models / "a", models / "nowhere"])
