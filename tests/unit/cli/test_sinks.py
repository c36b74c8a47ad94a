"""What a build says while it works, line by line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from builder.cli.sinks import GithubSink, PlainSink, RichSink, no_commands
from builder.events import Event, PartProgress, Progress, StepFinished, StepStarted, Warned

NESTED: tuple[Event, ...] = (
    StepStarted(step="verify"),
    StepStarted(step="environment onnx-reference"),
    StepFinished(step="environment onnx-reference", seconds=2.81, cached=False),
    StepFinished(step="verify", seconds=3.14, cached=False, detail="3 cases"),
    StepStarted(step="stage"),
    StepFinished(step="stage", seconds=0.1, cached=True, detail="12 files"),
)


def lines(sink: PlainSink, out: io.StringIO, events: tuple[Event, ...]) -> list[str]:
    for event in events:
        sink.emit(event)
    sink.close()
    return out.getvalue().splitlines()


def test_plain_lines_stand_in_columns() -> None:
    out = io.StringIO()
    assert lines(PlainSink(out), out, NESTED) == [
        "environment   2.8 s  onnx-reference",
        "verify        3.1 s  3 cases",
        "stage        cached  12 files",
    ]


def test_github_folds_do_not_nest_and_the_outcome_stands_below() -> None:
    out = io.StringIO()
    assert lines(GithubSink(out), out, NESTED) == [
        "::group::verify",
        "environment   2.8 s  onnx-reference",
        "::endgroup::",
        "verify        3.1 s  3 cases",
        "::group::stage",
        "::endgroup::",
        "stage        cached  12 files",
    ]


def test_github_fold_of_a_failed_step_is_closed() -> None:
    out = io.StringIO()
    assert lines(GithubSink(out), out, NESTED[:2]) == ["::group::verify", "::endgroup::"]


def test_github_annotation_is_one_line() -> None:
    out = io.StringIO()
    warned = Warned(message="90% full\nalmost", hint="clear it")
    assert lines(GithubSink(out), out, (warned,)) == ["::warning title=mbuild::90%25 full%0Aalmost clear it"]


@pytest.mark.parametrize("text", ["/models/[v2]/x", "[/nothing]", "[red]"])
def test_brackets_reach_a_terminal_as_they_are(text: str) -> None:
    out = io.StringIO()
    sink = RichSink(Console(file=out, force_terminal=True, width=80, color_system=None))
    for event in (
        StepStarted(step="stage"),
        Progress(step="stage", done=1, total=None, unit=text),
        Warned(message=text, hint=text),
        StepFinished(step="stage", seconds=1, cached=False, detail=text),
    ):
        sink.emit(event)
    sink.close()
    said = out.getvalue()
    assert f"! {text}" in said and f"  {text}" in said and f"✓ stage         1.0 s  {text}" in said


def part(done: int, outcome: str = "") -> PartProgress:
    return PartProgress(step="push", part="weights 0123456789ab", done=done, total=64_000_000, outcome=outcome)


def test_a_log_says_of_each_large_layer_what_became_of_it() -> None:
    out = io.StringIO()
    sink = PlainSink(out)
    for event in (part(1_000_000), part(64_000_000), part(64_000_000, "uploaded")):
        sink.emit(event)
    sink.emit(PartProgress(step="push", part="config 0123456789ab", done=900, total=900, outcome="reused"))
    assert out.getvalue() == "  weights 0123456789ab: 64.0 MB uploaded\n"


def test_a_terminal_shows_each_layer_while_it_moves() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    sink = RichSink(console)
    sink.emit(StepStarted(step="push"))
    sink.emit(part(32_000_000))
    assert "weights 0123456789ab  32.0 MB of 64.0 MB" in rendered(sink, console)
    sink.emit(part(64_000_000, "uploaded"))
    assert "weights" not in rendered(sink, console)
    sink.emit(part(64_000_000, "reused"))
    sink.emit(StepFinished(step="push", seconds=1.0, cached=False))
    sink.close()


def rendered(sink: RichSink, console: Console) -> str:
    with console.capture() as drawn:
        console.print(sink._bars.get_renderable())
    return drawn.get()


def test_what_is_quoted_is_no_workflow_command() -> None:
    out = io.StringIO()
    with no_commands(out):
        out.write("::warning::quoted\n")
    stop, quoted, on = out.getvalue().splitlines()
    assert quoted == "::warning::quoted"
    assert stop == f"::stop-commands::{on.strip(':')}" and len(on) > 30
