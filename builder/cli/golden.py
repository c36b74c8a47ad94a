"""``mbuild golden``: the cases that a build would make, written down."""

from __future__ import annotations

import typer

from builder.cli import options
from builder.cli.session import host_session
from builder.plan.spec import ConvertOptions


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("golden")(golden_command)


def golden_command(
    model: options.ModelArgument,
    target: options.TargetOption = "cpu",
    platform: options.PlatformOption = "",
    allow_code: options.AllowCodeOption = False,
) -> None:
    """Write the golden cases that a build would make, answered, into the model directory: keep them with the model."""
    from builder.pipeline.golden import write_golden

    convert = ConvertOptions(allow_code=allow_code)
    spec = options.build_spec(model, target, "http", (platform,), "", None, False, convert)
    with host_session() as host:
        for path in write_golden(spec, host):
            typer.echo(str(path))
