"""``mbuild explain``: where the bytes of an image went, and why each part is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options, tables
from builder.cli.session import host_session
from builder.cli.sinks import amount
from builder.oci.layout import Layout, is_layout
from builder.plan.spec import IN_THE_CACHE, NO_OPTIONS, CudaLibraries

if TYPE_CHECKING:
    from builder.host import Host
    from builder.pipeline.packages.explain import Explained
    from builder.plan.spec import BuildSpec
    from builder.probe.parts import LayerParts, Part

_SMALL = 0.01
"""Parts of less than this share of the image are added up."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("explain")(explain_command)


def explain_command(
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|MODEL_DIR",
            help="A model directory, an OCI layout, an image of the local Docker engine, or one in a registry.",
        ),
    ],
    target: options.TargetOption = "cpu",
    server: options.ServerOption = "http",
    platform: options.PlatformOption = "",
    base: options.BaseOption = "",
    cuda_libs: options.CudaLibsOption = CudaLibraries.AUTO,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Small parts, too, one by one.")] = False,
) -> None:
    """Show what takes the room in an image, part by part, and why it is there. Of a model directory: in its image."""
    from builder.pipeline.packages.explain import explain_image

    spec = options.build_spec(Path(image), target, server, (platform,), base, None, False, NO_OPTIONS, cuda_libs)
    with host_session() as host:
        place = Path(image)
        found = (
            _explain_model(spec, host)
            if place.is_dir() and not is_layout(place)
            else explain_image(image, spec.platform, host)
        )
    if output_format is options.OutputFormat.JSON:
        sys.stdout.write(readable_json(found.to_json()).decode())
        return
    size, disk = amount(found.size, "bytes"), amount(found.unpacked, "bytes")
    tables.print_rows([("image", f"{found.digest} for {found.platform}"), ("size", f"{size} to pull, {disk} on disk")])
    tables.print_rows([("", "")])
    tables.print_table(["part", "on disk", "why"], list(_rows(found, verbose)), right=["on disk"])


def _explain_model(spec: BuildSpec, host: Host) -> Explained:
    """Builds the image, or takes what is cached of it; it is neither tested nor loaded."""
    from builder.pipeline.build import build
    from builder.pipeline.packages.explain import explain_layout

    result = build(spec, IN_THE_CACHE, host)
    assert result.layout is not None
    return explain_layout(Layout(result.layout), spec.platform, host)


def _rows(found: Explained, verbose: bool) -> Iterator[tuple[str, str, str]]:
    for layer in found.layers:
        size = amount(layer.descriptor.size, "bytes")
        yield layer.role, amount(layer.size, "bytes"), f"a layer of {size}"
        yield from _parts(layer, 0 if verbose else int(found.unpacked * _SMALL))


def _parts(layer: LayerParts, small: int) -> Iterator[tuple[str, str, str]]:
    from builder.probe.parts import short_name

    large = [part for part in layer.parts if part.size >= small] or list(layer.parts[:1])
    rest = layer.parts[len(large) :]
    lines: list[tuple[str, Part | None]] = [(f"{part.name} {part.version}".strip(), part) for part in large]
    if rest:
        lines.append((f"{amount(len(rest), 'smaller parts')}", None))
    for number, (name, part) in enumerate(lines):
        last = number == len(lines) - 1
        size = part.size if part else sum(one.size for one in rest)
        yield f"{'└─' if last else '├─'} {name}", amount(size, "bytes"), part.why if part else "-v shows them"
        for library in part.libraries if part else ():
            if library.size >= small:
                yield (
                    f"{'  ' if last else '│ '}   {short_name(library.path.name)}",
                    amount(library.size, "bytes"),
                    library.why,
                )
