"""``mbuild cache``: what the cache directory holds, whether it is whole, and taking it away."""

from __future__ import annotations

from typing import Annotated

import typer

from builder.cli import tables
from builder.cli.session import cache_directory, host_session
from builder.cli.sinks import amount

app = typer.Typer(no_args_is_help=True, help="Show, check, limit and clear the cache directory.")


@app.command("path")
def path_command() -> None:
    """Print where the cache is (MBUILD_CACHE puts it elsewhere)."""
    typer.echo(cache_directory())


@app.command("ls")
def list_command(
    each: Annotated[bool, typer.Option("-v", "--verbose", help="Each thing, the least recently used first.")] = False,
) -> None:
    """What it holds, by kind, with sizes."""
    from builder.host.housekeeping import items, usage

    with host_session(quiet=True) as host:
        if each:
            tables.print_items(items(host.store))
        else:
            tables.print_cache(host.store.root, usage(host.store))


@app.command("verify")
def verify_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is damaged; exit status 11 if so.")] = False,
) -> None:
    """Read everything in it, and remove what is no longer as it was made; the next build makes that again."""
    from builder.host.housekeeping import damaged, remove_damaged
    from builder.pipeline.cache import sweep_cache

    with host_session() as host:
        found = tuple(damaged(host.store)) if dry_run else remove_damaged(host.store)
        if not dry_run:
            sweep_cache(host)
    for path in found:
        typer.echo(f"{'damaged' if dry_run else 'removed'} {path}")
    typer.echo(f"{len(found)} damaged" if found else "everything is as it was made")
    if found and dry_run:
        raise typer.Exit(11)


@app.command("gc")
def collect_command(
    max_size: Annotated[
        str,
        typer.Option("--max-size", metavar="SIZE", envvar="MBUILD_CACHE_MAX_SIZE", help="What may stay, as in 20GB."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what was used longest ago, until the rest is small enough. Never what a running build may hold."""
    from builder.host.housekeeping import collect, plan_collection
    from builder.pipeline.cache import parse_size, sweep_cache

    most = parse_size(max_size)
    with host_session() as host:
        if not dry_run:
            sweep_cache(host)
        done = plan_collection(host.store, most) if dry_run else collect(host.store, most)
    tables.print_collected(done, most, dry_run=dry_run)


@app.command("clear")
def clear_command() -> None:
    """Remove everything in it; the next build fetches and makes it again."""
    from builder.host.housekeeping import usage

    with host_session(quiet=True) as host:
        freed = sum(line.size for line in usage(host.store))
        host.store.clear()
    typer.echo(f"freed {amount(freed, 'bytes')}")
