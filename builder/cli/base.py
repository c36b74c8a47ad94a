"""``mbuild base``: the bases that images stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from builder.cli import options, tables
from builder.cli.session import host_session
from builder.cli.sinks import amount
from builder.oci.platform import Platform
from builder.oci.reference import Reference

app = typer.Typer(no_args_is_help=True, help="List, lock, build and push the bases that images stand on.")
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A folder of base-images/, or a directory of your own.")
]


@app.command("list")
def list_command() -> None:
    """The bases that ship with mbuild."""
    from builder.base.catalogue import list_bases

    rows = []
    for base in list_bases():
        sizes = "\n".join(f"{platform} {amount(size, 'bytes')}" for platform, size in base.download)
        what = f"{base.description}\n({base.unlocked})" if base.unlocked else base.description
        rows.append((base.name, base.suite, base.python, base.snapshot or "not locked", sizes, what))
    tables.print_table(("name", "suite", "python", "snapshot", "download", "what"), rows)


@app.command("show")
def show_command(name: NameArgument, platform: options.PlatformOption = "") -> None:
    """The packages of a base, as they are locked."""
    from builder.base.lock import read_lock
    from builder.base.spec import load_base

    image = load_base(name)
    lock = read_lock(image)
    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    image.require(chosen)
    packages = lock.platforms[chosen]
    wheels = lock.libraries.get(chosen, ())
    total = amount(sum(each.size for each in packages) + sum(each.size for each in wheels), "bytes")
    tables.print_rows(
        [
            ("base", f"{image.name} for {chosen}"),
            ("what", image.description),
            ("as of", lock.snapshot),
            ("size", f"{total} in {len(packages)} packages" + (f" and {len(wheels)} wheels" if wheels else "")),
            ("", ""),
        ]
    )
    rows = [(package.package, package.version, amount(package.size, "bytes")) for package in packages]
    tables.print_table(("package", "version", "download"), rows, right=("download",))
    if wheels:
        libraries = [(wheel.name, wheel.version, amount(wheel.size, "bytes")) for wheel in wheels]
        tables.print_table(("wheel", "version", "download"), libraries, right=("download",))


@app.command("lock")
def lock_command(name: NameArgument) -> None:
    """Choose the packages and wheels of a base anew and write image.lock; prints what changed."""
    from builder.base.lock import read_lock
    from builder.base.spec import load_base
    from builder.pipeline.base_lock import lock_anew

    image = load_base(name)
    with host_session() as host:
        locked = lock_anew(image, host)
    for change in locked.changes:
        typer.echo(f"{change.platform}  {change.package}  {change.before or 'new'} -> {change.after or 'gone'}")
    for wheel, why in locked.reasons.items():
        typer.echo(f"{wheel}: {why}")
    typer.echo(f"{image.lock_path} is of {read_lock(image).snapshot}")


@app.command("build")
def build_command(
    name: NameArgument,
    platform: options.PlatformsOption = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="OCI layout to write.")] = None,
) -> None:
    """Build a base as an image of its own."""
    from builder.pipeline.base_image import build_base

    with host_session() as host:
        built = build_base(name, options.read_platforms(platform or ()), output, host)
    for image in built.images:
        of = f"  {image.config.platform}" if built.index else ""
        typer.echo(f"{image.digest}  {amount(image.compressed_size, 'bytes')} compressed  {image.path}{of}")
    if built.index:
        typer.echo(f"{built.index.descriptor.digest}  index of them")


@app.command("push")
def push_command(
    name: NameArgument,
    reference: Annotated[str, typer.Argument(metavar="REF", help="Where to, for example localhost:5000/base-cpu:1.")],
    platform: options.PlatformsOption = None,
) -> None:
    """Build a base and push it, of several platforms as one index; name it with `--base` afterwards."""
    from builder.pipeline.base_image import build_base
    from builder.registry.push import push_graph, require_registry

    target = Reference.parse(reference)
    require_registry(target)
    with host_session() as host:
        result = push_graph(build_base(name, options.read_platforms(platform or ()), None, host).graph, target, host)
    tables.print_push(result)
