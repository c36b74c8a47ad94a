"""``mbuild cache``: what the cache directory holds, and taking it away."""

from __future__ import annotations

import typer

from builder.cli import tables
from builder.cli.session import cache_directory, host_session
from builder.cli.sinks import amount

app = typer.Typer(no_args_is_help=True, help="Show, check and clear the cache directory.")


@app.command("path")
def path_command() -> None:
    """Print where the cache is (MBUILD_CACHE puts it elsewhere)."""
    typer.echo(cache_directory())


@app.command("ls")
def list_command() -> None:
    """What it holds, by kind, with sizes."""
    with host_session(quiet=True) as host:
        tables.print_cache(host.store)


@app.command("verify")
def verify_command() -> None:
    """Read everything in it, and remove what is no longer as it was made; the next build makes that again."""
    with host_session() as host:
        damaged = host.store.remove_damaged()
        host.store.sweep(host.clock.now())
    for path in damaged:
        typer.echo(f"removed {path}")
    typer.echo(f"{len(damaged)} damaged" if damaged else "everything is as it was made")


@app.command("clear")
def clear_command() -> None:
    """Remove everything in it; the next build fetches and makes it again."""
    with host_session(quiet=True) as host:
        freed = host.store.clear()
    typer.echo(f"freed {amount(freed, 'bytes')}")
