"""``mbuild doctor``: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import textwrap

import typer
from rich.console import Console
from rich.text import Text

from builder.cli.session import host_session

_MARKS = {"ok": ("✓", "green"), "optional": ("-", "yellow"), "missing": ("✗", "red")}
_INDENT = " " * 12


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("doctor")(doctor_command)


def doctor_command() -> None:
    """Show what mbuild needs, what this machine has, and how to mend what is missing."""
    from builder.doctor import Verdict, examine

    with host_session(quiet=True) as host:
        findings = examine(host)
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        seen = finding.seen.replace("\n", "\n" + _INDENT)
        console.print(Text.assemble((mark, style), f"  {finding.name:<8} {seen}"))
        for line in textwrap.wrap(finding.mend, 80 - len(_INDENT), break_on_hyphens=False, break_long_words=False):
            console.print(Text(f"{_INDENT}{line}", style="dim"))
    if any(finding.verdict is Verdict.MISSING for finding in findings):
        raise typer.Exit(13)
