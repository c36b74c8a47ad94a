"""``mbuild converters``: the environments that models of other frameworks are converted in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from builder.canonical import readable_json
from builder.cli import options
from builder.cli.session import host_session
from builder.cli.sinks import amount

app = typer.Typer(no_args_is_help=True, help="List, install and remove the environments that convert models.")

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="As `list` names them.")]


@app.command("list")
def list_command(output_format: options.FormatOption = options.OutputFormat.HUMAN) -> None:
    """Which there are, the framework and its version, and what those that are installed take on disk."""
    from builder.pipeline.converters import list_environments

    with host_session(quiet=True) as host:
        lines = list_environments(host)
    if output_format is options.OutputFormat.JSON:
        sys.stdout.write(readable_json({"environments": [line.to_json() for line in lines]}).decode())
        return
    table = Table("name", "converts from", "formats", "installed")
    for line in lines:
        no = f"no ({amount(line.expected, 'bytes')})" if line.expected else "no"
        installed = no if line.size is None else amount(line.size, "bytes")
        table.add_row(line.name, line.framework or "(other versions)", ", ".join(line.formats), installed)
    Console(highlight=False).print(table)


@app.command("install")
def install_command(
    names: NamesArgument = None, every: Annotated[bool, typer.Option("--all", help="All of them.")] = False
) -> None:
    """Make them now, so that a later build needs no package index for them."""
    from builder.pipeline.converters import install_environments

    with host_session() as host:
        install_environments(names or (), every, host)


@app.command("rm")
def remove_command(
    names: NamesArgument = None, every: Annotated[bool, typer.Option("--all", help="All that lie there.")] = False
) -> None:
    """Remove them; the next conversion makes them again."""
    from builder.pipeline.converters import remove_environments

    with host_session() as host:
        freed = remove_environments(names or (), every, host)
    typer.echo(f"freed {amount(freed, 'bytes')}")
