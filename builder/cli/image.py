"""``mbuild test``: tries an image that exists."""

from __future__ import annotations

from typing import Annotated

import typer

from builder.cli import options, tables
from builder.cli.output import show
from builder.cli.session import host_session
from builder.oci.platform import Platform


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("test")(test_command)


def test_command(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|LAYOUT",
            help="A directory with an OCI layout, an image of the local Docker engine, or a reference in a registry.",
        ),
    ],
    platform: options.PlatformOption = "",
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Run an image as production would and replay the golden cases that it carries."""
    from builder.pipeline.packages.existing import test_image

    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    with host_session() as host:
        report = test_image(image, chosen, host)
    show(report, output_format, lambda: tables.print_report(report))
