"""Options that several commands share, and how they become a ``BuildSpec``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.plan.spec import BuildSpec, ConvertOptions

LOCK_NAME = "mbuild.lock"


class OutputFormat(StrEnum):
    """How a result is printed on stdout."""

    HUMAN = "human"
    JSON = "json"


ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="The directory that holds the model.")]
TargetOption = Annotated[str, typer.Option("--target", help="Where the image will run: cpu.")]
ServerOption = Annotated[str, typer.Option("--server", help="What serves the model: http.")]
PlatformOption = Annotated[
    str, typer.Option("--platform", help="linux/amd64 or linux/arm64; default: this machine's processor.")
]
BaseOption = Annotated[
    str,
    typer.Option("--base", metavar="REF", help="An upstream image with Python to build on, instead of our own base."),
]
LockOption = Annotated[
    Path | None, typer.Option("--lock", metavar="PATH", help=f"The lock file; default: {LOCK_NAME} beside the model.")
]
LockedOption = Annotated[
    bool, typer.Option("--locked", help="Change nothing in the lock; fail and say what drifted. For CI.")
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Load a model that brings code of its own, in the sandbox only.")
]
TemplateOption = Annotated[
    Path | None, typer.Option("--template-dir", metavar="DIR", help="Your own Dockerfile.j2 instead of ours.")
]
FormatOption = Annotated[
    OutputFormat, typer.Option("--format", help="Result on stdout: a table, or JSON with a schema.")
]
VerboseOption = Annotated[
    bool, typer.Option("-v", "--verbose", help="Also print what was locked, and each golden case and check.")
]


def build_spec(  # one parameter for each option of the command line
    model: Path,
    target: str,
    server: str,
    platform: str,
    base: str,
    lock: Path | None,
    locked: bool,
    convert: ConvertOptions,
) -> BuildSpec:
    """The spec; raises MalformedPlatform or MalformedReference."""
    return BuildSpec(
        model=model,
        target=target,
        server=server,
        platform=Platform.parse(platform) if platform else Platform.of_this_machine(),
        base=Reference.parse(base) if base else None,
        lock=lock or model / LOCK_NAME,
        locked=locked,
        convert=convert,
    )
