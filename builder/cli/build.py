"""``mbuild build``, ``mbuild plan`` and ``mbuild render``.

The pipeline is imported by the command that runs it, so that help and completion answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options, tables
from builder.cli.output import kept, show
from builder.cli.session import host_session
from builder.oci.reference import Reference
from builder.plan.spec import CudaLibraries, Delivery, Engine


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("build")(build_command)
    app.command("plan")(plan_command)
    app.command("render")(render_command)


def build_command(
    model: options.ModelArgument,
    target: options.TargetOption = "cpu",
    server: options.ServerOption = "http",
    platform: options.PlatformsOption = None,
    tag: options.TagsOption = None,
    push: Annotated[bool, typer.Option("--push", help="Push to the registry of --tag, after the test.")] = False,
    force: options.ForceOption = False,
    modelpack: options.ModelpackOption = False,
    weights_image: options.WeightsImageOption = False,
    load: options.LoadOption = None,
    output: options.LayoutOption = None,
    engine: Annotated[Engine, typer.Option("--engine", help="embedded: no daemon; docker: through a Dockerfile.")] = (
        Engine.EMBEDDED
    ),
    base: options.BaseOption = "",
    lock: options.LockOption = None,
    locked: options.LockedOption = False,
    allow_code: options.AllowCodeOption = False,
    bisect: options.BisectOption = False,
    env: options.EnvOption = "",
    quantize: options.QuantizeOption = None,
    measure_again: options.MeasureOption = False,
    sm: options.SmOption = "",
    cuda_libs: options.CudaLibsOption = CudaLibraries.AUTO,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Run the image and replay the golden cases.")] = True,
    test_again: options.TestAgainOption = False,
    max_size: options.MaxSizeOption = "",
    template_dir: options.TemplateOption = None,
    report: options.ReportOption = None,
    summary: options.SummaryOption = None,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
    verbose: options.VerboseOption = False,
) -> None:
    """Build, test and (with --push) publish the image of a model directory."""
    from builder.pipeline.build import build

    with kept(report, summary, model.name) as keep:
        convert = options.convert_options(allow_code, bisect, quantize, measure_again, env, sm)
        spec = options.build_spec(model, target, server, platform or (), base, lock, locked, convert, cuda_libs)
        delivery = Delivery(
            tags=tuple(map(Reference.parse, tag or ())),
            push=push,
            load=load,
            output=output,
            engine=engine,
            test=test,
            template_dir=template_dir,
            max_size=max_size,
            force=force,
            test_again=test_again,
            attach=options.attachments(modelpack=modelpack, weights_image=weights_image),
        )
        with host_session() as host:
            result = build(spec, delivery, host)
        keep(result.to_json())
    show(result, output_format, lambda: tables.print_result(result, verbose=verbose))


def plan_command(
    model: options.ModelArgument,
    target: options.TargetOption = "cpu",
    server: options.ServerOption = "http",
    platform: options.PlatformsOption = None,
    base: options.BaseOption = "",
    lock: options.LockOption = None,
    locked: options.LockedOption = False,
    allow_code: options.AllowCodeOption = False,
    bisect: options.BisectOption = False,
    env: options.EnvOption = "",
    quantize: options.QuantizeOption = None,
    measure_again: options.MeasureOption = False,
    sm: options.SmOption = "",
    cuda_libs: options.CudaLibsOption = CudaLibraries.AUTO,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Also list every file.")] = False,
) -> None:
    """Show what the image would be, layer by layer, without making it."""
    from builder.pipeline.build import plan_model

    convert = options.convert_options(allow_code, bisect, quantize, measure_again, env, sm)
    spec = options.build_spec(model, target, server, platform or (), base, lock, locked, convert, cuda_libs)
    with host_session() as host:
        planned = plan_model(spec, host)
    plans = [one.plan for one in planned.images]
    if output_format is options.OutputFormat.JSON:
        shown = [plan.to_json() for plan in plans]
        sys.stdout.write(readable_json(shown if len(shown) > 1 else shown[0]).decode())
    else:
        tables.print_plans(plans, verbose=verbose)
        tables.print_variants(planned.models)


def render_command(
    model: options.ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new directory for the context.")],
    target: options.TargetOption = "cpu",
    server: options.ServerOption = "http",
    platform: options.PlatformsOption = None,
    base: options.BaseOption = "",
    lock: options.LockOption = None,
    locked: options.LockedOption = False,
    allow_code: options.AllowCodeOption = False,
    bisect: options.BisectOption = False,
    env: options.EnvOption = "",
    quantize: options.QuantizeOption = None,
    measure_again: options.MeasureOption = False,
    sm: options.SmOption = "",
    cuda_libs: options.CudaLibsOption = CudaLibraries.AUTO,
    template_dir: options.TemplateOption = None,
) -> None:
    """Write a Dockerfile and everything it copies; plain `docker build` makes the image from it."""
    from builder.pipeline.build import render_model

    convert = options.convert_options(allow_code, bisect, quantize, measure_again, env, sm)
    spec = options.build_spec(model, target, server, platform or (), base, lock, locked, convert, cuda_libs)
    with host_session() as host:
        places = render_model(spec, output, template_dir, host)
    for one, place in zip(spec.platforms, places, strict=True):
        typer.echo(f"docker build {f'--platform {one} ' if spec.also else ''}{place}")
