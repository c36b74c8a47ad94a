"""`mbuild MODEL_DIR` means `mbuild build MODEL_DIR`."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from builder.cli.app import UnknownCommand, app, refuse_misspelt, with_build_as_default

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


@pytest.mark.parametrize(("word", "meant"), [("biuld", "build"), ("plam", "plan"), ("bases", "base")])
def test_a_misspelt_command_is_no_model(word: str, meant: str) -> None:
    with pytest.raises(UnknownCommand) as caught:
        refuse_misspelt(word, COMMANDS)
    assert f"mbuild {meant}" in caught.value.advice


def test_a_directory_of_almost_that_name_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plans").mkdir()
    refuse_misspelt("plans", COMMANDS)
    refuse_misspelt("resnet50", COMMANDS)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mbuild ./model --ta", {"--target", "--tag"}),
        ("mbuild --push ./model --eng", {"--engine"}),
        ("mbuild build ./model --ta", {"--target", "--tag"}),
        ("mbuild pl", {"plan"}),
        ("mbuild base sh", {"show"}),
    ],
)
def test_a_shell_completes_what_build_takes(
    line: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = line.split()
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_MBUILD_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit):
        typer.main.get_command(app).main(args=[], prog_name="mbuild")
    assert set(capsys.readouterr().out.split()) == offered
