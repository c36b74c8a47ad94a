"""Whatever somebody writes into an input, or a build puts out, arrives as that value and as nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.cli.sinks import github_message
from builder.deploy.action import output_lines, read_inputs
from tests.support.github_actions import annotations, read_outputs

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)))
NAMES = st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True)


@given(st.dictionaries(NAMES, TEXT))
def test_outputs_come_back(values: dict[str, str]) -> None:
    assert read_outputs(output_lines(values)) == values


@given(st.text("abc:%\r\n'\"$(`"))
def test_an_annotation_is_one_line_and_comes_back(text: str) -> None:
    assert annotations(f"::error title=t::{github_message(text)}\n") == [("error", "t", text)]


@given(TEXT.filter(str.strip), TEXT, TEXT, st.lists(TEXT))
def test_inputs_are_words_of_the_command(model: str, target: str, tag: str, args: list[str]) -> None:
    environ = {"INPUT_MODEL": model, "INPUT_TARGET": target, "INPUT_TAGS": tag, "INPUT_ARGS": shlex.join(args)}
    words = read_inputs(environ).arguments(Path("r.json"))
    assert words[-4:] == ("--report", "r.json", "--", model.strip())
    assert words[-4 - len(args) : -4] == tuple(args)
    head = words[: len(words) - 4 - len(args)]
    options = [word for word in head if word.startswith("--") and word not in (target.strip(), *tag.split())]
    assert set(options) <= {"--target", "--tag", "--no-load", "--no-test"} | {part.strip() for part in tag.split(",")}
