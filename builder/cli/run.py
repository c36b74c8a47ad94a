"""``mbuild run``, ``ps``, ``logs`` and ``stop``: servers on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import canonical_json, readable_json
from builder.cli import options, run_options
from builder.cli.options import OutputFormat
from builder.cli.session import host_session
from builder.cli.stopping import StopSignals
from builder.cli.tables import print_table, tensor_text
from builder.errors import UsageError
from builder.plan.spec import Engine

if TYPE_CHECKING:
    from builder.pipeline.running.run import RunningService, RunSpec
    from builder.pipeline.running.services import ListedService

_KILLED = 137


class NothingNamed(UsageError):
    code = "nothing-named"
    message = "`mbuild stop` takes either names or --all"
    hint = "`mbuild ps` lists the servers that `mbuild run` has started"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(run_command)
    app.command("ps")(ps_command)
    app.command("logs")(logs_command)
    app.command("stop")(stop_command)


def run_command(
    image: run_options.ImageArgument,
    port: run_options.PortOption = None,
    host_address: run_options.HostOption = "127.0.0.1",
    env: run_options.EnvOption = None,
    volume: run_options.VolumeOption = None,
    gpus: run_options.GpusOption = "",
    memory: run_options.MemoryOption = "",
    cpus: run_options.CpusOption = 0.0,
    network: run_options.NetworkOption = False,
    detach: run_options.DetachOption = False,
    name: run_options.NameOption = "",
    engine: Annotated[
        Engine | None, typer.Option("--engine", help="docker, or embedded (no daemon); default: Docker if it is there.")
    ] = None,
    target: options.TargetOption = "cpu",
    server: options.ServerOption = "http",
    platform: options.PlatformOption = "",
    lock: options.LockOption = None,
    locked: options.LockedOption = False,
    allow_code: options.AllowCodeOption = False,
    quantize: options.QuantizeOption = None,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Of a directory: test the image that is built.")
    ] = True,
    output_format: options.FormatOption = OutputFormat.HUMAN,
) -> None:
    """Start a model and say how to ask it: a directory (built first), a layout, or an image. Ctrl-C ends it."""
    from builder.pipeline.packages.existing import is_model
    from builder.pipeline.running.run import FOR_USE, RunSpec

    convert = options.convert_options(allow_code, False, quantize, False, "")
    build = options.build_spec(Path(image), target, server, [platform], "", lock, locked, convert)
    given = run_options.Given(env=env or (), volumes=volume or (), memory=memory, cpus=cpus, network=network)
    spec = RunSpec(
        image=image,
        platform=build.platform,
        build=build if is_model(image) else None,
        test=test,
        engine=engine,
        host=run_options.address(host_address),
        port=port,
        gpus=run_options.gpu_count(gpus),
        name=run_options.server_name(name),
        is_detached=detach,
        limits=run_options.with_given(FOR_USE, given),
    )
    _serve(spec, output_format)


def _serve(spec: RunSpec, output_format: OutputFormat) -> None:
    from builder.cli.log_lines import log_writer, note
    from builder.pipeline.running.attend import Attendant
    from builder.pipeline.running.run import run_image

    with StopSignals() as signals, ExitStack() as stack:
        with host_session() as host:
            service = stack.enter_context(run_image(spec, host))
        signals.count()
        _tell(service, output_format, is_detached=spec.is_detached)
        if spec.is_detached:
            service.running.release()
            return
        drained = Attendant(service, signals.asked, host).attend(
            log_writer(), lambda: note("stopping: what was accepted is answered; once more kills the server")
        )
    if not drained:
        raise typer.Exit(_KILLED)


def _tell(service: RunningService, output_format: OutputFormat, *, is_detached: bool) -> None:
    """On stdout, and at once: who waits for it may be a program."""
    if output_format is OutputFormat.JSON:
        sys.stdout.write(canonical_json(service.to_json()).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_lines(service, is_detached=is_detached)) + "\n")
    sys.stdout.flush()


def _lines(service: RunningService, *, is_detached: bool) -> Iterator[str]:
    """What people copy stands alone on its lines."""
    yield f"{service.name} is ready at {service.url} ({service.engine}, {service.ready_seconds:.2f} s)"
    for model in service.models:
        sides = (model.signature.inputs, model.signature.outputs)
        taken, given = (", ".join(map(tensor_text, side)) for side in sides)
        yield from ("", f"# {model.name}: {taken} -> {given}", model.curl)
    if service.models:
        yield from ("", "# Python, with tritonclient[http]", service.models[0].python)
    ending = f"`mbuild stop {service.name}` ends it" if is_detached else "Ctrl-C ends it"
    yield from ("", f"# {ending}")


def ps_command(output_format: options.FormatOption = OutputFormat.HUMAN) -> None:
    """List the servers that `mbuild run` has started."""
    from builder.pipeline.running.services import list_services

    with host_session(quiet=True) as host:
        found = list_services(host)
    if output_format is OutputFormat.JSON:
        sys.stdout.write(readable_json([one.to_json() for one in found]).decode())
    elif found:
        print_table(("name", "image", "at", "by", "since", "state"), [_row(one) for one in found])


def _row(one: ListedService) -> tuple[str, ...]:
    running = "detached" if one.is_detached else "in a terminal"
    state = running if one.state.running else f"ended, {one.state.ending}"
    return one.name, one.image, one.url or "-", f"{one.engine} {one.id}", one.since, state


def logs_command(
    name: run_options.ServerNameArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until it ends, or Ctrl-C.")] = False,
) -> None:
    """Print what a server has said."""
    from builder.pipeline.running.services import find_service

    with host_session(quiet=True) as host:
        service = find_service(name, host)
        for piece in service.follow() if follow else (service.said(),):
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()


def stop_command(
    names: run_options.NamesArgument = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every one.")] = False,
) -> None:
    """End servers: what they have accepted is answered, and nothing of them is left."""
    from builder.pipeline.running.services import stop_services

    if bool(names) == all_of_them:
        raise NothingNamed
    with host_session(quiet=True) as host:
        for stopped in stop_services(names or (), host):
            typer.echo(stopped)
