"""``mbuild push``, ``mbuild pull``, ``mbuild copy`` and ``mbuild tag``: images into registries, out of them, between
them, and their names there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options, tables
from builder.cli.output import show
from builder.cli.session import host_session
from builder.cli.sinks import amount
from builder.errors import UsageError
from builder.oci.platform import Platform
from builder.oci.reference import Reference

if TYPE_CHECKING:
    from builder.pipeline.packages.listing import Entry


class NoPlaceForModel(UsageError):
    code = "no-place-for-model"
    message = "--model-only was given, but not where the files go"
    hint = "name a new or an empty directory with -o"


class PlatformAndAll(UsageError):
    code = "platform-and-all"
    message = "--all-platforms was given with {other}"
    hint = "take one platform, or all"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("push")(push_command)
    app.command("pull")(pull_command)
    app.command("copy")(copy_command)
    app.command("tag")(tag_command)
    app.command("ls")(ls_command)


def push_command(
    layout: Annotated[Path, typer.Argument(metavar="LAYOUT", help="The directory of an OCI image layout.")],
    reference: Annotated[str, typer.Argument(metavar="REF", help="Where to, for example localhost:5000/digits:1.")],
    force: options.ForceOption = False,
    modelpack: options.ModelpackOption = False,
    weights_image: options.WeightsImageOption = False,
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Push an OCI layout to a registry; prints the reference by digest."""
    from builder.pipeline.packages.existing import push_layout

    target = Reference.parse(reference)
    settings = options.registry_settings(target.registry, username, password_stdin, plain_http)
    with host_session(settings=settings) as host:
        wanted = options.attachments(modelpack=modelpack, weights_image=weights_image)
        result = push_layout(layout, target, host, force=force, wanted=wanted)
    show(result, output_format, lambda: tables.print_push(result))


def pull_command(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The image, for example localhost:5000/digits:1.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Where to; default: into the cache, and the result says where."
        ),
    ] = None,
    model_only: Annotated[
        bool, typer.Option("--model-only", help="Only the model, as files below -o; nothing else is fetched.")
    ] = False,
    platform: options.PlatformOption = "",
    all_platforms: Annotated[
        bool, typer.Option("--all-platforms", help="Everything that an index names, not one platform's image.")
    ] = False,
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Pull an image from a registry: as an OCI layout, or its model alone. What was cut goes on where it was."""
    from builder.pipeline.packages.pull import pull_image, pull_model

    source = Reference.parse(reference)
    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    if all_platforms and (platform or model_only):
        raise PlatformAndAll(other="--platform" if platform else "--model-only")
    if model_only and output is None:
        raise NoPlaceForModel
    settings = options.registry_settings(source.registry, username, password_stdin, plain_http)
    with host_session(settings=settings) as host:
        if model_only and output is not None:
            result = pull_model(source, chosen, output, host)
        else:
            result = pull_image(source, None if all_platforms else chosen, output, host)
    show(result, output_format, lambda: tables.print_pull(result))


def copy_command(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="An image in a registry, or the directory of an OCI image layout.")
    ],
    destination: Annotated[str, typer.Argument(metavar="DST", help="Where to, for example localhost:5000/digits:1.")],
    force: options.ForceOption = False,
    modelpack: options.ModelpackOption = False,
    weights_image: options.WeightsImageOption = False,
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Copy an image, or an index with all its images, into a registry. No daemon, nothing on the disk, same digest."""
    from builder.pipeline.packages.copy import copy_image

    target = Reference.parse(destination)
    settings = options.registry_settings(target.registry, username, password_stdin, plain_http)
    with host_session(settings=settings) as host:
        wanted = options.attachments(modelpack=modelpack, weights_image=weights_image)
        result = copy_image(source, target, host, force=force, wanted=wanted)
    show(result, output_format, lambda: tables.print_push(result))


def tag_command(
    source: Annotated[str, typer.Argument(metavar="SRC", help="The image, for example localhost:5000/digits:1.0.0.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The other tag, for example stable.")],
    force: options.ForceOption = False,
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Give an image in a registry another tag; nothing of it moves."""
    from builder.pipeline.packages.tag import tag_image

    reference = Reference.parse(source)
    settings = options.registry_settings(reference.registry, username, password_stdin, plain_http)
    with host_session(settings=settings) as host:
        tagged = tag_image(reference, new, host, force=force)
    show(tagged, output_format, lambda: tables.print_rows([(tagged.tag, str(tagged.reference))]))


def ls_command(
    place: Annotated[
        str,
        typer.Argument(metavar="REGISTRY[/REPOSITORY]", help="For example localhost:5000/digits."),
    ],
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """List the images of a repository, or of a whole registry, with what they say of themselves."""
    from builder.pipeline.packages.listing import as_json, list_packages

    settings = options.registry_settings(place.partition("/")[0], username, password_stdin, plain_http)
    with host_session(quiet=True, settings=settings) as host:
        entries = list_packages(place, host)
    if output_format is options.OutputFormat.JSON:
        sys.stdout.write(readable_json(as_json(entries)).decode())
    else:
        tables.print_table(_LISTED, [_listed(entry) for entry in entries], right=["size"])


_LISTED = ("image", "size", "created", "target", "platforms", "models")


def _listed(entry: Entry) -> tuple[str, ...]:
    name, package = entry.reference.familiar, entry.package
    if package is None:
        return name, "", "", "", "", entry.remark
    platforms = ", ".join(str(platform) for platform, _ in package.platforms)
    face = package.face
    models = ", ".join(f"{one.name} {one.version}" for one in face.models) if face else "not made by mbuild"
    return name, amount(package.size, "bytes"), package.created[:10], face.target if face else "", platforms, models
