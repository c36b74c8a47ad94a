"""Options of ``mbuild run``, and how they become what a server gets."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from builder.errors import UsageError
from builder.host.container import ALL_GPUS, Mount
from builder.pipeline.cache import parse_size
from builder.probe.runner import Limits

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIGHEST_PORT = 65535


class MalformedOption(UsageError):
    code = "malformed-option"
    message = "{option} {given!r} is not {wanted}"
    hint = "for example {option} {example}"


class UnsetVariable(UsageError):
    code = "unset-variable"
    message = "--env {name} takes its value from the environment, which has no {name}"
    hint = "say --env {name}=VALUE, or export it"


ImageArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_DIR|LAYOUT|IMAGE",
        help="A model directory, an OCI layout, an image of the local Docker engine, or a reference in a registry.",
    ),
]
PortOption = Annotated[
    int | None,
    typer.Option(
        "-p", "--port", min=0, max=_HIGHEST_PORT, help="Default: 8000, or a free one if that is in use; 0: a free one."
    ),
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="0.0.0.0 is reached from other machines; default: this one.")
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("-e", "--env", metavar="NAME[=VALUE]", help="A variable for the server; may be repeated."),
]
VolumeOption = Annotated[
    list[str] | None,
    typer.Option("-v", "--volume", metavar="PATH:PLACE", help="A file or directory that the server may read there."),
]
GpusOption = Annotated[
    str, typer.Option("--gpus", metavar="all|N|none", help="Default: all, for an image that is made for GPUs.")
]
MemoryOption = Annotated[
    str, typer.Option("--memory", metavar="SIZE", help="At most so much, as in 4GB; default: any.")
]
CpusOption = Annotated[float, typer.Option("--cpus", min=0.0, metavar="N", help="At most so many; default: all.")]
NetworkOption = Annotated[
    bool, typer.Option("--network", help="Let it open connections of its own; needs a Docker engine.")
]
DetachOption = Annotated[
    bool, typer.Option("-d", "--detach", help="Leave it running when it is ready: `mbuild ps`, `logs` and `stop`.")
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="For ps, logs and stop; default: the image's.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="As `mbuild ps` shows them.")]
ServerNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `mbuild ps` shows it.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the options say of a server's surroundings, as they were typed."""

    env: Sequence[str] = ()
    volumes: Sequence[str] = ()
    memory: str = ""
    cpus: float = 0.0
    network: bool = False


def with_given(limits: Limits, given: Given) -> Limits:
    """Raises MalformedOption, MalformedSize and UnsetVariable."""
    return replace(
        limits,
        env=tuple(map(variable, given.env)),
        mounts=tuple(map(mount, given.volumes)),
        memory_bytes=parse_size(given.memory) if given.memory else None,
        cpus=given.cpus,
        is_connected=given.network,
    )


def variable(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, or the value that NAME has here, as ``docker run`` has it."""
    name, equals, value = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise MalformedOption(option="--env", given=text, wanted="NAME=VALUE", example="MBUILD_LOG_LEVEL=debug")
    if not equals and name not in os.environ:
        raise UnsetVariable(name=name)
    return name, value if equals else os.environ[name]


def mount(text: str) -> Mount:
    """``PATH:PLACE``, read-only whether ``:ro`` is said or not."""
    source, _, place = text.removesuffix(":ro").rpartition(":")
    path = Path(source).expanduser().absolute()
    if not source or not place.startswith("/") or ".." in PurePosixPath(place).parts or not path.exists():
        wanted = "a path that is there, a colon, and an absolute path in the container"
        raise MalformedOption(option="--volume", given=text, wanted=wanted, example="./keys:/run/secrets/keys")
    return Mount(source=path.resolve(), place=PurePosixPath(place))


def gpu_count(text: str) -> int | None:
    """None where nothing was said."""
    if text and text not in ("all", "none") and not text.isdecimal():
        raise MalformedOption(option="--gpus", given=text, wanted="all, none or a number", example="1")
    return {"": None, "all": ALL_GPUS, "none": 0}[text] if not text.isdecimal() else int(text)


def address(text: str) -> str:
    """An IP address of this machine; ``localhost`` is one, too."""
    try:
        return str(ipaddress.ip_address("127.0.0.1" if text == "localhost" else text))
    except ValueError:
        raise MalformedOption(option="--host", given=text, wanted="an IP address", example="0.0.0.0") from None  # noqa: S104


def server_name(text: str) -> str:
    if text and not _NAME.fullmatch(text):
        raise MalformedOption(option="--name", given=text, wanted="letters, digits and . _ -", example="digits")
    return text
