"""``mbuild inspect``: what a directory holds, why mbuild thinks so, and what a build would do with it; or what an image
in a registry or a layout says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from builder.cli import options
from builder.cli.output import show
from builder.cli.session import host_session
from builder.cli.tables import tensor_text
from builder.oci.layout import is_layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference, names_image

if TYPE_CHECKING:
    from builder.model.signature import Signature
    from builder.pipeline.inspect import Inspection


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("inspect")(inspect_command)


def inspect_command(
    subject: Annotated[
        str,
        typer.Argument(metavar="MODEL_DIR|LAYOUT|REF", help="A model directory, an OCI layout, or an image's name."),
    ],
    target: options.TargetOption = "cpu",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Show what was seen in a model directory and why, ending as a build would; or what an image says of itself, of
    which only manifest and config are read."""
    place = Path(subject)
    if is_layout(place) or (not place.exists() and names_image(subject)):
        registry = "" if is_layout(place) else Reference.parse(subject).registry
        settings = options.registry_settings(registry, username, password_stdin, plain_http) if registry else {}
        _show_package(subject, platform, settings, output_format)
    else:
        _show_directory(place, target, output_format)


def _show_package(subject: str, platform: str, settings: dict[str, str], output_format: options.OutputFormat) -> None:
    from builder.cli.package import print_package
    from builder.pipeline.packages.modelpack import inspect_any

    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    with host_session(quiet=True, settings=settings) as host:
        package = inspect_any(subject, chosen, host)
    show(package, output_format, lambda: print_package(package))


def _show_directory(model: Path, target: str, output_format: options.OutputFormat) -> None:
    from builder.pipeline.inspect import inspect_directory

    with host_session(quiet=True) as host:
        seen = inspect_directory(model, target, host)
    show(seen, output_format, lambda: print_inspection(seen))
    if seen.error:
        raise seen.error


def print_inspection(seen: Inspection) -> None:
    if seen.models:
        _print_collection(seen)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    rows = [("directory", f"{seen.directory}, {seen.files} files"), *_rows("seen", [": ".join(p) for p in seen.seen])]
    rows += [("model.yaml", seen.manifest or "none, all defaults")]
    if seen.model:
        wrapped = f", in a directory of {seen.model.wrapper}" if seen.model.wrapper else ""
        rows += [("model", f"{seen.model.entry} ({seen.model.format}{wrapped})")]
    if seen.origin:
        rows += _converter(seen)
    rows += _rows("golden", list(seen.golden) or ["none; cases are generated"])
    if seen.handler:
        rows += [("handler", ", ".join(seen.handler))]
    if seen.plain:
        rows += _signature(seen.plain, "plain in", "plain out")
    if seen.signature:
        rows += _signature(seen.signature, "inputs", "outputs")
    elif seen.origin:
        rows += [("signature", "known after the conversion")]
    if seen.remark:
        rows += [("remark", seen.remark)]
    if seen.error:
        rows += [("a build", f"ends with status {seen.error.exit_code}, see below")]
    for name, text in rows:
        grid.add_row(name, _plain(text))
    Console(highlight=False, soft_wrap=True).print(grid)


def _print_collection(seen: Inspection) -> None:
    said = seen.manifest or "none, all defaults"
    console = Console(highlight=False, soft_wrap=True)
    console.print(_plain(f"{seen.directory} holds {len(seen.models)} models for one image (model.yaml: {said})"))
    for one in seen.models:
        console.print()
        print_inspection(one)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _rows(name: str, texts: list[str]) -> list[tuple[str, str]]:
    return [(name if number == 0 else "", text) for number, text in enumerate(texts)]


def _converter(seen: Inspection) -> list[tuple[str, str]]:
    from builder.pipeline.converters import framework_version

    if seen.origin is None:
        return []
    environment = seen.origin.converter.environment
    size = f", about {environment.megabytes} MB" if environment.megabytes else ""
    state = "installed" if seen.installed else f"not installed yet{size}"
    return [
        (
            "converter",
            f"from {framework_version(seen.origin.converter)}, in the environment {environment.name} "
            f"({len(environment.requirements)} pinned packages, {state}; --format json lists them)",
        ),
    ]


def _signature(signature: Signature, inputs: str, outputs: str) -> list[tuple[str, str]]:
    sides = ((inputs, signature.inputs), (outputs, signature.outputs))
    return [row for name, side in sides for row in _rows(name, [tensor_text(tensor) for tensor in side])]
