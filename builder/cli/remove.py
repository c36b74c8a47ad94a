"""``mbuild rm``: tags and images out of a registry, after it was said what goes and somebody agreed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from builder.cli import options
from builder.cli.output import show
from builder.cli.session import host_session
from builder.cli.tables import Row, print_rows
from builder.errors import UsageError
from builder.model.attached import attachment_name
from builder.oci.reference import Reference

if TYPE_CHECKING:
    from builder.pipeline.packages.remove import Removal


class NotConfirmed(UsageError):
    code = "not-confirmed"
    message = "nothing was removed: {reason}"
    hint = "--yes removes without asking, --dry-run shows what would go"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("rm")(rm_command)


def rm_command(
    references: Annotated[
        list[str],
        typer.Argument(metavar="REF", help="Tags (localhost:5000/digits:1.0.0) or digests, in one repository."),
    ],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="A digest goes with all tags that it has, and out of indexes.")
    ] = False,
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Remove tags and images from a registry. A tag that is one of several goes alone; with its last tag an image goes,
    and what is attached to it."""
    from builder.pipeline.packages.remove import plan_removal, remove

    parsed = [Reference.parse(one) for one in references]
    settings = options.registry_settings(parsed[0].registry, username, password_stdin, plain_http)
    with host_session(settings=settings) as host:
        removal = plan_removal(parsed, host, force=force)
        if not dry_run:
            if not yes:
                _ask(removal)
            remove(removal, host)
    show(removal, output_format, lambda: print_rows(list(_rows(removal, "goes" if dry_run else "gone"))))


def _ask(removal: Removal) -> None:
    """Raises NotConfirmed."""
    if not sys.stdin.isatty():
        raise NotConfirmed(reason="there is no terminal to ask whether it is meant")
    for label, text in _rows(removal, "goes"):
        typer.echo(f"{label:<9}{text}", err=True)
    typer.echo("Remove it? [y/N] ", nl=False, err=True)  # not typer.confirm, which writes to stdout, too
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmed(reason="that was not meant")


def _rows(removal: Removal, word: str) -> Iterator[Row]:
    for one in removal.loose:
        yield word, f"the tag {one.tag} alone: {one.image.descriptor.digest} stays for {', '.join(one.kept_by)}"
    for image in removal.images:
        platform = f" for {image.descriptor.platform}" if image.descriptor.platform else ""
        tags = f" with its tags {', '.join(image.tags)}" if image.tags else ""
        yield word, f"{removal.repository.familiar}@{image.descriptor.digest}{platform}{tags}"
    for attached in removal.attached:
        yield word, f"{attached.digest}, attached to it: {attachment_name(attached) or attached.media_type}"
