"""The ``mbuild`` command: registers the commands, and is the one place where every error becomes a message."""

from __future__ import annotations

import difflib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from builder import __version__
from builder.cli import (
    base,
    build,
    cache,
    ci,
    converters,
    deploy,
    deploy_files,
    deploy_kubernetes,
    diff,
    doctor,
    explain,
    fleet,
    golden,
    image,
    inspect,
    registry,
    remove,
    run,
)
from builder.cli.sinks import github_message, no_commands
from builder.errors import MbuildError, UsageError

_OWN_OPTIONS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


class UnknownCommand(UsageError):
    code = "unknown-command"
    message = "{word!r} is neither a command nor a directory"
    hint = "did you mean `mbuild {meant}`? A model directory of that name is written ./{word}"


class BuildByDefault(TyperGroup):
    """Also where a shell asks how the line could go on."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = with_build_as_default(args, list(self.commands))
        if words != args and not ctx.resilient_parsing:
            refuse_misspelt(args[0], list(self.commands))
        return super().parse_args(ctx, words)


app = typer.Typer(
    name="mbuild",
    cls=BuildByDefault,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`mbuild MODEL_DIR` is short for `mbuild build MODEL_DIR`. Documentation: docs/ in the repository.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mbuild {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """From a model directory to a small, tested, reproducible container image, in one command."""


build.register(app)
fleet.register(app)
golden.register(app)
image.register(app)
run.register(app)
registry.register(app)
remove.register(app)
app.add_typer(base.app, name="base")
inspect.register(app)
explain.register(app)
diff.register(app)
app.add_typer(converters.app, name="converters")
app.add_typer(cache.app, name="cache")
app.add_typer(ci.app, name="ci")
deploy_files.register(deploy.app)
deploy_kubernetes.register(deploy.app)
app.add_typer(deploy.app, name="deploy")
doctor.register(app)


def with_build_as_default(arguments: Sequence[str], commands: Sequence[str]) -> list[str]:
    """``mbuild ./model ...`` means ``mbuild build ./model ...``: a first word that is no command (and no option of the
    program itself) is a model directory or an option of build."""
    if not arguments or arguments[0] in (*_OWN_OPTIONS, *commands):
        return list(arguments)
    return ["build", *arguments]


def refuse_misspelt(word: str, commands: Sequence[str]) -> None:
    """Raise UnknownCommand for a word that is almost a command, unless there is such a model directory."""
    close = difflib.get_close_matches(word, commands, n=1, cutoff=0.6)
    if close and not Path(word).exists():
        raise UnknownCommand(word=word, meant=close[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exit status: 0, or the family's code of builder/errors.py, 70 for a bug, 130 for Ctrl-C."""
    _speak_utf8()
    command = typer.main.get_command(app)
    try:
        command.main(args=sys.argv[1:] if arguments is None else list(arguments), prog_name="mbuild")
    except MbuildError as error:
        sys.exit(report(error))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _complain("interrupted", "", "what was finished is kept; the same command goes on from there")
        raise
    except Exception:  # the one place that catches everything: a bug of ours
        sys.exit(report_bug())


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode (PEP 540) where the locale would have us take the bytes of a path for ASCII:
    names of files are UTF-8 in images, in JSON, and on every machine that mbuild runs on."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - ourselves


INTERRUPTED = 130


def report(error: MbuildError) -> int:
    """Print message, cause and hint to stderr; with MBUILD_DEBUG also the traceback."""
    message = "\n".join((str(error), *getattr(error, "__notes__", ())))
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    with no_commands(sys.stderr) if on_github else nullcontext():
        _complain("error", f" ({error.code})", message, error.advice)
    if on_github:
        _annotate(error.code, f"{message}\n{error.advice}".rstrip())
    if os.environ.get("MBUILD_DEBUG"):
        sys.stderr.write(traceback.format_exc())
    return error.exit_code


def report_bug() -> int:
    """Write the traceback to a log file and say where it is."""
    from builder.cli.session import cache_directory  # late: only a bug needs it here

    path = cache_directory() / "crash.log"
    text = traceback.format_exc()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        path = Path("the text above")
        sys.stderr.write(text)
    last = text.strip().splitlines()[-1]
    _complain("error", " (internal)", last, f"this is a bug of mbuild; please report {path}")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate("internal", last)
    return MbuildError.exit_code


def _annotate(code: str, text: str) -> None:
    """On the page of a run of GitHub Actions."""
    sys.stderr.write(f"::error title=mbuild {code}::{github_message(text)}\n")


def _complain(word: str, code: str, message: str, hint: str = "") -> None:
    """Text, not markup: a message may have brackets in it."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble((word, "bold red"), code, ": ", message))
    if hint:
        console.print(Text.assemble(("hint", "bold"), ": ", hint))


logging.getLogger("urllib3").setLevel(logging.ERROR)
