"""Event sinks: a terminal (rich), plain lines, GitHub Actions folds. All write to stderr; stdout is the result's."""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from builder.events import Event, PartProgress, Produced, Progress, StepFinished, StepStarted, Warned

_LARGE = 10_000_000


def amount(number: int, unit: str) -> str:
    """``number`` of ``unit``, bytes or a plural noun, for people: 1.5 MB, 12 packages, 1 package."""
    if unit != "bytes":
        return f"{number} {unit.removesuffix('s') if number == 1 else unit}"
    value = float(number)
    for name in ("B", "kB", "MB", "GB"):
        if value < 1000 or name == "GB":
            return f"{value:.0f} {name}" if name == "B" else f"{value:.1f} {name}"
        value /= 1000
    return f"{value:.1f} TB"


def _moved(event: PartProgress) -> str:
    """A part that is where it should be, said in a log where it is large enough to wonder about."""
    return f"  {event.part}: {amount(event.total, 'bytes')} {event.outcome}" if event.total >= _LARGE else ""


def _finished(event: StepFinished) -> str:
    time = "cached" if event.cached else f"{event.seconds:.1f} s"
    name, _, rest = event.step.partition(" ")  # `environment onnx-reference`, a step within a step
    detail = ": ".join(part for part in (rest, event.detail) if part)
    return f"{name:<11} {time:>7}  {detail}".rstrip()


class PlainSink:
    """One line for each thing that ended; for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def close(self) -> None:
        """The end of the run, also of one that failed."""

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
            case PartProgress() if event.outcome:
                return _moved(event)
            case Warned():
                return f"warning: {event.message}" + (f"\n  hint: {event.hint}" if event.hint else "")
            case _:
                return ""


def github_message(text: str) -> str:
    """Text as a workflow command takes it: one line, with percent and line ends escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


@contextmanager
def no_commands(out: TextIO) -> Iterator[None]:
    """What is written meanwhile is text on GitHub Actions, also a line that looks like a workflow command: a message
    may quote a file, a log or an option."""
    token = secrets.token_hex(16)
    out.write(f"::stop-commands::{token}\n")
    try:
        yield
    finally:
        out.write(f"::{token}::\n")
        out.flush()


class GithubSink(PlainSink):
    """Folds for each step and annotations for warnings, as the workflow commands of GitHub Actions spell them.

    Folds cannot lie within each other, so a step within a step is a line in the fold of the outer one. The line that
    says how a step ended stands below its fold, where it is seen.
    """

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._open = 0

    def close(self) -> None:
        """Close the fold of a step that failed, so that the error is not hidden in it."""
        if self._open:
            self._open = 0
            self._out.write("::endgroup::\n")
            self._out.flush()

    def _line(self, event: Event) -> str:
        match event:
            case StepStarted():
                self._open += 1
                return f"::group::{event.step}" if self._open == 1 else ""
            case StepFinished():
                self._open -= 1
                return _finished(event) if self._open else f"::endgroup::\n{_finished(event)}"
            case PartProgress() if event.outcome:
                return _moved(event)
            case Warned():
                return f"::warning title=mbuild::{github_message(f'{event.message} {event.hint}'.rstrip())}"
            case _:
                return ""


class RichSink:
    """A live line with a bar for the step that runs, and one line for each that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<11}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bars.add_task("", total=None, amount="", visible=False)
        self._running: list[str] = []
        self._parts: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        with self._lock:
            match event:
                case StepStarted():
                    self._running.append(event.step)
                    self._show()
                case Progress():
                    total = f" of {amount(event.total, event.unit)}" if event.total is not None else ""
                    text = amount(event.done, event.unit) + total
                    self._bars.update(self._task, completed=event.done, total=event.total, amount=text)
                case PartProgress():
                    self._show_part(event)
                case StepFinished():
                    self._say("✓", "green", _finished(event))
                    self._running = self._running[:-1]
                    self._show()
                case Warned():
                    self._say("!", "yellow", event.message)
                    if event.hint:
                        self._say(" ", "", event.hint)
                case Produced():
                    pass

    def _show(self) -> None:
        """The innermost step that runs, if there is one."""
        if self._running:
            self._bars.start()
            step = self._running[-1].partition(" ")[0]
            self._bars.reset(self._task, description=step, total=None, amount="", visible=True)
        else:
            self._bars.update(self._task, visible=False)

    def _show_part(self, event: PartProgress) -> None:
        """A bar of its own while it moves."""
        if event.outcome:
            if (task := self._parts.pop(event.part, None)) is not None:
                self._bars.remove_task(task)
            return
        if event.part not in self._parts:
            self._parts[event.part] = self._bars.add_task("", total=event.total, amount="")
        text = f"{event.part}  {amount(event.done, 'bytes')} of {amount(event.total, 'bytes')}"
        self._bars.update(self._parts[event.part], completed=event.done, amount=text)

    def _say(self, mark: str, style: str, text: str) -> None:
        self._console.print(Text.assemble((mark, style), " ", text), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the live line away."""
        self._bars.stop()


def choose_sink(environ: Mapping[str, str] | None = None) -> PlainSink | RichSink:
    """Rich on a terminal, folds on GitHub Actions, plain lines elsewhere."""
    environ = os.environ if environ is None else environ
    if environ.get("GITHUB_ACTIONS") == "true":
        return GithubSink(sys.stderr)
    if sys.stderr.isatty():
        return RichSink(Console(stderr=True))
    return PlainSink(sys.stderr)
