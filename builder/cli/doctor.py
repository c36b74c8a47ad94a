"""``mbuild doctor``: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from builder.cli.session import host_session

_MARKS = {"ok": "[green]✓[/]", "optional": "[yellow]-[/]", "missing": "[red]✗[/]"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor_command)


def doctor_command() -> None:
    """Show what mbuild needs, what this machine has, and how to mend what is missing."""
    from builder.doctor import Verdict, examine

    with host_session(quiet=True) as host:
        findings = examine(host)
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        table.add_row(_MARKS[finding.verdict], finding.name, finding.seen)
        if finding.mend:
            table.add_row("", "", f"[dim]{finding.mend}[/]")
    Console(highlight=False).print(table)
    if any(finding.verdict is Verdict.MISSING for finding in findings):
        raise typer.Exit(13)
