"""``mbuild build-all``: many models, one command, one table."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options, tables
from builder.cli.output import kept
from builder.cli.session import host_session
from builder.cli.summary import fleet_summary
from builder.plan.spec import IN_THE_CACHE, CudaLibraries

if TYPE_CHECKING:
    from builder.pipeline.fleet import Outcome


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("build-all")(build_all_command)


def build_all_command(
    models: options.ModelsArgument,
    target: options.FleetTargetOption = "",
    server: options.ServerOption = "http",
    platform: options.PlatformsOption = None,
    registry: options.RegistryOption = "",
    push: Annotated[bool, typer.Option("--push", help="Push each image to its tag, after its test.")] = False,
    force: options.ForceOption = False,
    modelpack: options.ModelpackOption = False,
    weights_image: options.WeightsImageOption = False,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Builds at once; 0: as many as the machine carries.")] = 0,
    locked: options.LockedOption = False,
    cuda_libs: options.CudaLibsOption = CudaLibraries.AUTO,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Run each image and replay its golden cases.")] = True,
    report: options.ReportOption = None,
    summary: options.SummaryOption = None,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Build, test and (with --push) publish many models; goes on past a failure, does again only what is missing."""
    from builder.pipeline.fleet import build_fleet, plan_fleet
    from builder.plan.fleet import read_fleet

    with kept(report, summary, "the fleet", fleet_summary) as keep:
        spec_of = options.member_specs(server, platform or (), locked, cuda_libs)
        wanted = options.attachments(modelpack=modelpack, weights_image=weights_image)
        delivery = replace(IN_THE_CACHE, push=push, test=test, force=force, attach=wanted)
        fleet = read_fleet(models, target, registry)
        with host_session() as host:
            outcomes = build_fleet(plan_fleet(fleet, spec_of, delivery), host, jobs)
        told = [outcome.to_json() for outcome in outcomes]
        keep(told)
    if output_format is options.OutputFormat.JSON:
        sys.stdout.write(readable_json(told).decode())
    else:
        tables.print_fleet(outcomes)
    raise typer.Exit(exit_code(outcomes))


def exit_code(outcomes: tuple[Outcome, ...]) -> int:
    """0, or that of the first failure."""
    return next((outcome.error.exit_code for outcome in outcomes if outcome.error), 0)
