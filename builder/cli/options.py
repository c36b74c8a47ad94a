"""Options that several commands share, and how they become a ``BuildSpec``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import UsageError
from builder.model.bounds import Quantize
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.plan.spec import NO_OPTIONS, Attachment, BuildSpec, ConvertOptions, CudaLibraries

if TYPE_CHECKING:
    from builder.plan.fleet import Member

LOCK_NAME = "mbuild.lock"


class HalfALogin(UsageError):
    code = "half-a-login"
    message = "{given} was given alone"
    hint = "give both: `... --username USER --password-stdin < FILE`; or `docker login` once, and give neither"


class NoOwnPython(UsageError):
    code = "no-own-python"
    message = "--env takes python=PATH of a program that is there, and got {given!r}"
    hint = "name the Python of an environment that has the framework, for example --env python=.venv/bin/python"


class OutputFormat(StrEnum):
    """How a result is printed on stdout."""

    HUMAN = "human"
    JSON = "json"


ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL_DIR", help="The directory that holds the model.")]
TargetOption = Annotated[
    str, typer.Option("--target", help="Where the image will run: cpu, cuda12, cuda13, tensorrt or tensorrt10.")
]
ServerOption = Annotated[str, typer.Option("--server", help="What serves the model: http or triton.")]
PlatformOption = Annotated[
    str, typer.Option("--platform", help="linux/amd64 or linux/arm64; default: this machine's processor.")
]
PlatformsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform",
        metavar="PLATFORM,...",
        help="linux/amd64, linux/arm64, or both for one index; default: this machine's processor.",
    ),
]
CiPlatformsOption = Annotated[
    list[str] | None,
    typer.Option("--platform", metavar="PLATFORM,...", help="As of `mbuild build`; default: that of whoever builds."),
]
TagsOption = Annotated[
    list[str] | None,
    typer.Option("-t", "--tag", metavar="REF", help="The image's name, and where --push goes; may be repeated."),
]
BaseOption = Annotated[
    str,
    typer.Option("--base", metavar="REF", help="An upstream image with Python to build on, instead of our own base."),
]
ModelsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="MODEL_DIR...|FLEET.yaml", help="Model directories, or a file that lists them."),
]
RegistryOption = Annotated[
    str, typer.Option("--registry", metavar="REG/PATH", help="Tag each model as REG/PATH/NAME:VERSION.")
]
FleetTargetOption = Annotated[str, typer.Option("--target", help="Where the images will run; default: cpu.")]
LockOption = Annotated[
    Path | None, typer.Option("--lock", metavar="PATH", help=f"The lock file; default: {LOCK_NAME} beside the model.")
]
LockedOption = Annotated[
    bool, typer.Option("--locked", help="Change nothing in the lock; fail and say what drifted. For CI.")
]
AllowCodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Load a model that brings code of its own, in the sandbox only.")
]
BisectOption = Annotated[
    bool, typer.Option("--bisect", help="Where a conversion computes something else, name the node that departs.")
]
EnvOption = Annotated[
    str,
    typer.Option(
        "--env", metavar="python=PATH", help="Convert with this Python and its packages, not the locked ones."
    ),
]
QuantizeOption = Annotated[
    Quantize | None,
    typer.Option("--quantize", help="Make the model smaller, if it then still is the model; auto: the fastest."),
]
MeasureOption = Annotated[
    bool, typer.Option("--measure-again", help="With --quantize auto: choose anew, whatever the lock has.")
]
TestAgainOption = Annotated[
    bool, typer.Option("--test-again", help="Test also an image that passed on this machine before.")
]
SmOption = Annotated[
    str,
    typer.Option(
        "--sm", metavar="86,89,120", help="With --target tensorrt: the GPUs that engines are made for; none: no engine."
    ),
]
CudaLibsOption = Annotated[
    CudaLibraries, typer.Option("--cuda-libs", help="Of a GPU image: the libraries that the model needs, or all.")
]
MaxSizeOption = Annotated[
    str, typer.Option("--max-size", metavar="SIZE", help="Fail where the layers have more than this, as in 900MB.")
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

ReportOption = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Also write the JSON result here.")]
SummaryOption = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Append a summary in Markdown here, also of a build that failed."),
]

UsernameOption = Annotated[
    str, typer.Option("--username", metavar="USER", help="Who you are for the registry; with --password-stdin.")
]
PasswordOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Move a version's tag (X.Y.Z) that is there to this image.")]
LoadOption = Annotated[
    bool | None,
    typer.Option("--load/--no-load", help="Put it into the local Docker engine; default: if there is one."),
]
LayoutOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", help="Write the OCI image layout here; default: into the cache."),
]
ModelpackOption = Annotated[
    bool, typer.Option("--modelpack", help="Also attach its models as a CNCF ModelPack artifact, over the same layers.")
]
WeightsImageOption = Annotated[
    bool,
    typer.Option("--weights-image", help="Also attach the image in two: the server alone, and its models as a volume."),
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="Speak HTTP without TLS to the registry, where the network is yours alone.")
]


def attachments(*, modelpack: bool, weights_image: bool) -> tuple[Attachment, ...]:
    """What is to be attached, in words of the plan."""
    asked = {Attachment.MODELPACK: modelpack, Attachment.WEIGHTS_IMAGE: weights_image}
    return tuple(attachment for attachment, wanted in asked.items() if wanted)


def registry_settings(registry: str, username: str, password_stdin: bool, plain_http: bool) -> dict[str, str]:
    """What the options of a command for one registry say, in the words of the environment. Raises HalfALogin."""
    settings = {}
    if bool(username) != password_stdin:
        raise HalfALogin(given="--username" if username else "--password-stdin")
    if username:
        settings = {
            "MBUILD_REGISTRY": registry,
            "MBUILD_REGISTRY_USERNAME": username,
            "MBUILD_REGISTRY_PASSWORD": sys.stdin.readline().rstrip("\r\n"),
        }
    if plain_http:
        known = os.environ.get("MBUILD_PLAIN_HTTP", "")
        settings["MBUILD_PLAIN_HTTP"] = ",".join(name for name in (known, registry) if name)
    return settings


def convert_options(  # one parameter for each option of the command line
    allow_code: bool, bisect: bool, quantize: Quantize | None, measure_again: bool, env: str, sm: str = ""
) -> ConvertOptions:
    """How a model becomes ONNX, and engines. Raises NoOwnPython or CapabilityRefused."""
    from builder.model.engines import parse_capabilities

    return ConvertOptions(
        allow_code=allow_code,
        bisect=bisect,
        quantize=quantize,
        measure_again=measure_again,
        python=own_python(env) if env else None,
        capabilities=parse_capabilities(sm) if sm else None,
    )


def own_python(env: str) -> Path:
    """The program of ``python=PATH``; not resolved, since a link in an environment is what tells Python of it. Raises
    NoOwnPython."""
    name, _, given = env.partition("=")
    path = Path(given).expanduser().absolute()
    if name != "python" or not path.is_file() or not os.access(path, os.X_OK):
        raise NoOwnPython(given=env)
    return path


def member_specs(
    server: str, platforms: Sequence[str], locked: bool, libraries: CudaLibraries = CudaLibraries.AUTO
) -> Callable[[Member], BuildSpec]:
    """How the members of a fleet are built; raises what ``build_spec`` does."""
    return lambda one: build_spec(one.directory, one.target, server, platforms, "", None, locked, NO_OPTIONS, libraries)


def read_platforms(given: Sequence[str]) -> tuple[Platform, ...]:
    """Those of an option that may be repeated, and may have several with commas between them (as docker buildx has it);
    each once, in an order of their own; without any, this machine's. Raises MalformedPlatform."""
    named = {Platform.parse(text.strip()).normal for one in given if one for text in one.split(",")}
    return tuple(sorted(named)) or (Platform.of_this_machine(),)


def build_spec(  # one parameter for each option of the command line
    model: Path,
    target: str,
    server: str,
    platforms: Sequence[str],
    base: str,
    lock: Path | None,
    locked: bool,
    convert: ConvertOptions,
    libraries: CudaLibraries = CudaLibraries.AUTO,
) -> BuildSpec:
    """The spec; raises MalformedPlatform or MalformedReference."""
    first, *also = read_platforms(platforms)
    return BuildSpec(
        model=model,
        target=target,
        server=server,
        platform=first,
        base=Reference.parse(base) if base else None,
        lock=lock or model / LOCK_NAME,
        locked=locked,
        convert=convert,
        also=tuple(also),
        libraries=libraries,
    )
