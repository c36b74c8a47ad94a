"""``mbuild ci action``: what the steps of action.yml run on a runner of GitHub Actions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from builder import __version__
from builder.canonical import content_key
from builder.cli import options
from builder.cli.build import build_command
from builder.cli.output import Keep, kept
from builder.cli.session import cache_directory, host_session
from builder.cli.summary import pushed_names
from builder.deploy.action import ActionInputs, output_lines, outputs_of, read_inputs, runner_file
from builder.errors import UsageError
from builder.oci.platform import Platform

app = typer.Typer(help="What the steps of action.yml run.", no_args_is_help=True)


class ArgumentsRefused(UsageError):
    code = "arguments-refused"
    message = "`mbuild build` cannot be run as the inputs of the action say: {said}"
    hint = "the input args takes further options of `mbuild build`, for example --locked; docs/commands.md lists them"


@app.command("prepare")
def prepare_command() -> None:
    """Say where the cache is, under which keys GitHub keeps it, and whether an emulator has to be installed."""
    with _told() as (inputs, _):
        key, others = inputs.cache_keys(Platform.of_this_machine().architecture, __version__, _content(inputs))
        emulator = "true" if inputs.test and _lacks_emulator(inputs) else "false"
    _put({"cache": str(cache_directory()), "key": key, "restore-keys": others, "emulator": emulator})


@app.command("build")
def build_and_tell_command() -> None:
    """Build, test and push as the inputs say, set the outputs of the action, and write the page of the job."""
    with _told() as (inputs, keep):
        report = _report_path(inputs)
        report.unlink(missing_ok=True)
        _build(inputs.arguments(report))
        if not report.is_file():  # --help, for example
            raise ArgumentsRefused(said="nothing was built")
        result = json.loads(report.read_bytes())
        keep(result)
    _put(outputs_of(result, pushed_names(result), report))


@contextmanager
def _told() -> Iterator[tuple[ActionInputs, Keep]]:
    """Gives the inputs, and what writes the page of the job; an error, also one in the inputs, is told there."""
    summary = runner_file("GITHUB_STEP_SUMMARY", os.environ)
    with kept(None, summary, Path(os.environ.get("INPUT_MODEL", "")).name) as keep:
        yield read_inputs(os.environ), keep


def _build(arguments: Sequence[str]) -> None:
    alone = typer.Typer()
    alone.command()(build_command)
    try:
        typer.main.get_command(alone).main(args=list(arguments), prog_name="mbuild build", standalone_mode=False)
    except Exception as error:
        # An option that there is not: typer has no public name for what it raises then.
        if not hasattr(error, "format_message"):
            raise
        raise ArgumentsRefused(said=error.format_message()) from error


def _put(values: dict[str, str]) -> None:
    with runner_file("GITHUB_OUTPUT", os.environ).open("a", encoding="utf-8") as out:
        out.write(output_lines(values))


def _report_path(inputs: ActionInputs) -> Path:
    """As the input says, else a place of its own for each image of the job."""
    if inputs.report:
        return Path(inputs.report)
    name = content_key({"inputs": repr(inputs), "in": str(Path.cwd())})[:12]
    return runner_file("RUNNER_TEMP", os.environ) / "mbuild" / f"report-{name}.json"


def _content(inputs: ActionInputs) -> str:
    """A digest of the model directory and its lock, which decide most of what a build keeps."""
    from builder.model.source import list_model
    from builder.oci.digest import Digest

    source, lock = list_model(Path(inputs.model)), Path(inputs.model, options.LOCK_NAME)
    digests = {str(file.path): str(Digest.of_file(source.locate(file.path))) for file in source.files}
    return content_key({**digests, options.LOCK_NAME: str(Digest.of_file(lock)) if lock.is_file() else ""})


def _lacks_emulator(inputs: ActionInputs) -> bool:
    from builder.pipeline.prove import can_run

    with host_session(quiet=True) as host:
        return not all(can_run(platform, host) for platform in options.read_platforms(inputs.platforms))
