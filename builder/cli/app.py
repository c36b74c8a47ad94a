"""The ``mbuild`` command: registers the commands, and is the one place where every error becomes a message."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from builder import __version__
from builder.cli import base, build, cache, converters, doctor, image, inspect
from builder.errors import MbuildError

app = typer.Typer(
    name="mbuild",
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
image.register(app)
app.add_typer(base.app, name="base")
inspect.register(app)
app.add_typer(converters.app, name="converters")
app.add_typer(cache.app, name="cache")
doctor.register(app)


def with_build_as_default(arguments: Sequence[str], commands: Sequence[str]) -> list[str]:
    """``mbuild ./model ...`` means ``mbuild build ./model ...``: a first word that is no command (and no option of the
    program itself) is a model directory or an option of build."""
    own = ("-h", "--help", "--version", "--install-completion", "--show-completion")
    if not arguments or arguments[0] in own or arguments[0] in commands:
        return list(arguments)
    return ["build", *arguments]


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exit status: 0, or the family's code of builder/errors.py, 70 for a bug, 130 for Ctrl-C."""
    command = typer.main.get_command(app)
    given = sys.argv[1:] if arguments is None else list(arguments)
    words = with_build_as_default(given, list(getattr(command, "commands", {})))
    try:
        command.main(args=words, prog_name="mbuild")
    except MbuildError as error:
        sys.exit(report(error))
    except Exception:  # the one place that catches everything: a bug of ours
        sys.exit(report_bug())


def report(error: MbuildError) -> int:
    """Print message, cause and hint to stderr; with MBUILD_DEBUG also the traceback."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error[/] ({error.code}): ", end="")
    console.print(str(error), markup=False)
    if error.advice:
        console.print("[bold]hint[/]: ", end="")
        console.print(error.advice, markup=False)
    if os.environ.get("MBUILD_DEBUG"):
        console.print(traceback.format_exc(), markup=False)
    return error.exit_code


def report_bug() -> int:
    """Write the traceback to a log file and say where it is."""
    from builder.cli.session import cache_directory  # late: only a bug needs it here

    path = cache_directory() / "crash.log"
    text = traceback.format_exc()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError:
        path = Path("(not written: the cache directory is not writable)")
        sys.stderr.write(text)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error[/] (internal): {text.strip().splitlines()[-1]}", markup=True)
    console.print(f"[bold]hint[/]: this is a bug of mbuild; please report it with {path}")
    return MbuildError.exit_code


logging.getLogger("urllib3").setLevel(logging.ERROR)

if __name__ == "__main__":
    main()
