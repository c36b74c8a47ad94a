"""``mbuild inspect``: what a directory holds, why mbuild thinks so, and what a build would do with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from builder.canonical import readable_json
from builder.cli import options
from builder.cli.session import host_session

if TYPE_CHECKING:
    from builder.model.signature import Signature, TensorSpec
    from builder.pipeline.inspect import Inspection


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("inspect")(inspect_command)


def inspect_command(
    model: options.ModelArgument,
    target: options.TargetOption = "cpu",
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Show what was seen in a model directory and why, without converting or building; ends as a build would."""
    from builder.pipeline.inspect import inspect_directory

    with host_session(quiet=True) as host:
        seen = inspect_directory(model, target, host)
    if output_format is options.OutputFormat.JSON:
        sys.stdout.write(readable_json(seen.to_json()).decode())
    else:
        print_inspection(seen)
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
    state = "installed" if seen.installed else "not installed yet"
    return [
        (
            "converter",
            f"from {framework_version(seen.origin.converter)}, in the environment {environment.name} "
            f"({len(environment.requirements)} pinned packages, {state}; --format json lists them)",
        ),
    ]


def _signature(signature: Signature, inputs: str, outputs: str) -> list[tuple[str, str]]:
    sides = ((inputs, signature.inputs), (outputs, signature.outputs))
    return [row for name, side in sides for row in _rows(name, [_tensor(tensor) for tensor in side])]


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.datatype} [{', '.join(str(dim) for dim in tensor.shape)}]"
