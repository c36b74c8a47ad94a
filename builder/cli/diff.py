"""``mbuild diff``: what differs between two images, without a pull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.canonical import canonical_json
from builder.cli import options
from builder.cli.output import show
from builder.cli.session import host_session
from builder.cli.sinks import amount
from builder.cli.tables import print_rows, print_table
from builder.oci.platform import Platform

if TYPE_CHECKING:
    from builder.pipeline.packages.differences import Comparison

_Image = Annotated[str, typer.Argument(metavar="REF|LAYOUT", help="An image in a registry, or an OCI layout.")]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("diff")(diff_command)


def diff_command(
    before: _Image,
    after: _Image,
    platform: options.PlatformOption = "",
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Show what differs between two images: models, tensors, packages, layers, size, figures. No layer is read."""
    from builder.pipeline.packages.differences import diff_packages

    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    with host_session(quiet=True) as host:
        found = diff_packages(before, after, chosen, host)
    show(found, output_format, lambda: print_comparison(found))


def print_comparison(found: Comparison) -> None:
    print_rows([(name, one.image) for name, one in (("before", found.before), ("after", found.after))])
    sizes = f"{amount(found.before.size, 'bytes')}, then {amount(found.after.size, 'bytes')}"
    fetch = f"who has the first fetches {amount(found.to_fetch, 'bytes')} for the second"
    print_rows([("size", f"{sizes}; {fetch}"), ("", "")])
    layers = [
        (one.role, amount(one.before, "bytes"), amount(one.after, "bytes"), amount(one.shared, "bytes"))
        for one in found.layers
    ]
    print_table(["layers", "before", "after", "in both"], layers, right=["before", "after", "in both"])
    parts = [
        (one.role, part.holds, amount(part.before, "bytes"), amount(part.after, "bytes"))
        for one in found.layers
        for part in one.parts
    ]
    if parts:
        print_rows([("", "")])
        print_table(["changed", "holding", "before", "after"], parts, right=["before", "after"])
    changes = [(one.field, _text(one.before), _text(one.after)) for one in (*found.said, *found.measured)]
    print_rows([("", "")])
    if changes:
        print_table(["field", "before", "after"], changes)
    else:
        print_rows([("same", "they say the same of themselves")])


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else canonical_json(value).decode()
