"""Event sinks: a terminal (rich), plain lines, GitHub Actions folds. All write to stderr; stdout is the result's."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from builder.events import Event, EventSink, Produced, Progress, StepFinished, StepStarted, Warned


def amount(number: int, unit: str) -> str:
    """``number`` of ``unit`` for people: 1.5 MB, 12 packages."""
    if unit != "bytes":
        return f"{number} {unit}"
    value = float(number)
    for name in ("B", "kB", "MB", "GB"):
        if value < 1000 or name == "GB":
            return f"{value:.0f} {name}" if name == "B" else f"{value:.1f} {name}"
        value /= 1000
    return f"{value:.1f} TB"


def _finished(event: StepFinished) -> str:
    time = "cached" if event.cached else f"{event.seconds:.1f} s"
    return f"{event.step:<9} {time:>7}  {event.detail}".rstrip()


class PlainSink:
    """One line for each thing that ended; for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        line = self._line(event)
        if line:
            with self._lock:
                self._out.write(line + "\n")
                self._out.flush()

    def _line(self, event: Event) -> str:
        match event:
            case StepFinished():
                return _finished(event)
            case Warned():
                return f"warning: {event.message}" + (f"\n  hint: {event.hint}" if event.hint else "")
            case _:
                return ""


class GithubSink(PlainSink):
    """Folds for each step and annotations for warnings, as the workflow commands of GitHub Actions spell them."""

    def _line(self, event: Event) -> str:
        match event:
            case StepStarted():
                return f"::group::{event.step}"
            case StepFinished():
                return f"{_finished(event)}\n::endgroup::"
            case Warned():
                return f"::warning title=mbuild::{event.message} {event.hint}".rstrip()
            case _:
                return ""


class RichSink:
    """A live line with a bar for the step that runs, and one line for each that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._live: Live | None = None
        self._task = self._bars.add_task("", total=None, amount="", visible=False)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._lock:
            match event:
                case StepStarted():
                    self._bars.start()
                    self._bars.reset(self._task, description=event.step, total=None, amount="", visible=True)
                case Progress():
                    total = f" of {amount(event.total, event.unit)}" if event.total is not None else ""
                    text = amount(event.done, event.unit) + total
                    self._bars.update(self._task, completed=event.done, total=event.total, amount=text)
                case StepFinished():
                    self._console.print(f"[green]✓[/] {_finished(event)}", highlight=False)
                    self._bars.update(self._task, visible=False)
                case Warned():
                    self._console.print(f"[yellow]![/] {event.message}", highlight=False)
                    if event.hint:
                        self._console.print(f"  {event.hint}", style="dim", highlight=False)
                case Produced():
                    pass

    def close(self) -> None:
        """Take the live line away."""
        self._bars.stop()


def choose_sink(environ: Mapping[str, str] | None = None) -> EventSink:
    """Rich on a terminal, folds on GitHub Actions, plain lines elsewhere."""
    environ = os.environ if environ is None else environ
    if environ.get("GITHUB_ACTIONS") == "true":
        return GithubSink(sys.stderr)
    if sys.stderr.isatty():
        return RichSink(Console(stderr=True))
    return PlainSink(sys.stderr)
