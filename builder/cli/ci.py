"""``mbuild ci``: the same fleet, built by somebody else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from builder.cli import options
from builder.cli.action import app as action_app
from builder.host.fs import atomic_write
from builder.plan.fleet import Fleet, PlannedMember, read_fleet
from builder.plan.spec import IN_THE_CACHE

app = typer.Typer(help="Have many models built elsewhere.", no_args_is_help=True)
app.add_typer(action_app, name="action", hidden=True)

RootOption = Annotated[Path, typer.Option("--root", help="What paths are relative to: the checkout, or the volume.")]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it here; default: to the terminal.")
]


@app.command("github")
def github_command(
    models: options.ModelsArgument,
    action: Annotated[
        str, typer.Option("--action", metavar="OWNER/REPOSITORY@REF", help="Where mbuild's action is: its repository.")
    ],
    registry: options.RegistryOption = "",
    target: options.FleetTargetOption = "",
    platform: options.CiPlatformsOption = None,
    root: RootOption = Path(),
    output: OutputOption = None,
) -> None:
    """Write a GitHub Actions workflow with a job for each model."""
    from builder.deploy.documents import to_yaml
    from builder.deploy.github import github_workflow

    document = github_workflow(_members(read_fleet(models, target, registry), platform or (), root), action)
    comment = "Written by `mbuild ci github`. REGISTRY_USERNAME and REGISTRY_PASSWORD are secrets of the repository."
    _put(to_yaml([document], comment), output)


@app.command("kubernetes")
def kubernetes_command(
    models: options.ModelsArgument,
    image: Annotated[str, typer.Option("--image", metavar="REF", help="An image that has mbuild in it.")],
    claim: Annotated[str, typer.Option("--claim", help="The volume claim with the model directories.")],
    cache_claim: Annotated[str, typer.Option("--cache-claim", help="A volume claim that the jobs share.")] = "",
    secret: Annotated[str, typer.Option("--secret", help="The secret with the registry's login.")] = "",
    registry: options.RegistryOption = "",
    target: options.FleetTargetOption = "",
    platform: options.CiPlatformsOption = None,
    root: RootOption = Path(),
    output: OutputOption = None,
) -> None:
    """Write Kubernetes Jobs, one for each model."""
    from builder.deploy.documents import to_yaml
    from builder.deploy.jobs import JobSettings, build_jobs

    settings = JobSettings(image=image, models=claim, cache=cache_claim, secret=secret)
    documents = build_jobs(_members(read_fleet(models, target, registry), platform or (), root), settings)
    _put(to_yaml(documents, "Written by `mbuild ci kubernetes`."), output)


def _members(fleet: Fleet, given: Sequence[str], root: Path) -> tuple[PlannedMember, ...]:
    from builder.pipeline.fleet import plan_fleet, planned_members

    delivery = replace(IN_THE_CACHE, push=True, test=True)
    jobs = plan_fleet(fleet, options.member_specs("http", given, locked=False), delivery)
    platforms = options.read_platforms(given) if given else ()
    return tuple(replace(member, platforms=platforms) for member in planned_members(jobs, root))


def _put(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    atomic_write(output, text.encode())
    typer.echo(str(output))
