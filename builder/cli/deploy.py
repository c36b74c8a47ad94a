"""``mbuild deploy``: what runs an image elsewhere, made from what the image says of itself. The group, and the options
that its commands share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options
from builder.cli.session import host_session
from builder.errors import UsageError
from builder.host.fs import atomic_write
from builder.oci.layout import is_layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference

if TYPE_CHECKING:
    from builder.deploy.documents import Document
    from builder.deploy.pod import PodOptions
    from builder.deploy.served import Served


class NoSetting(UsageError):
    code = "no-setting"
    message = "--env is {given!r}, which gives no name a value"
    hint = "for example --env MBUILD_ACCESS_LOG=1; docs/server.md lists the settings"


app = typer.Typer(help="Write what runs an image elsewhere, by its digest.", no_args_is_help=True)

ImageArgument = Annotated[
    str, typer.Argument(metavar="REF|LAYOUT", help="An image in a registry, or an OCI layout with --repository.")
]
NameOption = Annotated[str, typer.Option("--name", help="What it is called there; default: the model's name.")]
NamespaceOption = Annotated[str, typer.Option("-n", "--namespace", help="Write this namespace into each document.")]
ReplicasOption = Annotated[int, typer.Option("--replicas", min=1, help="How many pods there are at least.")]
MostOption = Annotated[
    int,
    typer.Option("--max-replicas", min=0, help="How many an autoscaler may make; 0: 5 times as many, on GPUs no more."),
]
CpuOption = Annotated[str, typer.Option("--cpu", help="Processors of a pod, and threads of its server: 2 or 500m.")]
MemoryOption = Annotated[str, typer.Option("--memory", help="As in 2Gi; default: by what the build measured.")]
GpusOption = Annotated[int, typer.Option("--gpus", min=1, help="Of an image for GPUs: how many a pod has.")]
GpuLabelsOption = Annotated[
    bool,
    typer.Option(
        "--gpu-labels/--no-gpu-labels", help="Only nodes whose labels (NVIDIA GPU feature discovery) say that they fit."
    ),
]
PullSecretOption = Annotated[
    list[str] | None, typer.Option("--pull-secret", metavar="NAME", help="A secret with the registry's login.")
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A setting of the server, as MBUILD_ACCESS_LOG=1."),
]
EnvFromOption = Annotated[
    list[str] | None, typer.Option("--env-from", metavar="NAME", help="A secret with settings, as MBUILD_API_KEY.")
]
WeightsVolumeOption = Annotated[
    bool,
    typer.Option(
        "--weights-volume", help="Mount the models from their own image (--weights-image of a push); Kubernetes 1.36."
    ),
]
KubernetesOption = Annotated[
    str, typer.Option("--kubernetes", metavar="1.N", help="The cluster's version; default: 1.33 and 1.36 both.")
]
RepositoryOption = Annotated[
    str, typer.Option("--repository", metavar="REGISTRY/NAME", help="Where the image of a LAYOUT is pulled from.")
]
DirectoryOption = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="DIR", help="A Kustomize directory: `kubectl apply -k DIR`; default: stdout."
    ),
]


def find(  # one parameter for each option of the command line
    image: str,
    name: str,
    repository: str,
    platform: str,
    username: str,
    password_stdin: bool,
    plain_http: bool,
) -> Served:
    """What a deployment has to know of an image, by the options that all commands of the group have."""
    return find_all([image], name, repository, platform, username, password_stdin, plain_http)[0]


def find_all(
    images: Sequence[str],
    name: str,
    repository: str,
    platform: str,
    username: str,
    password_stdin: bool,
    plain_http: bool,
    weights_volume: bool = False,
) -> list[Served]:
    """The options for a registry, and a password of the environment that names none, are for that of the first."""
    from builder.pipeline.running.deploy import find_served, with_weights_volume
    from builder.registry.credentials import acting_for

    chosen, settings = chosen_platform(platform), settings_for(images[0], username, password_stdin, plain_http)
    with host_session(quiet=True, settings=settings) as session:
        first = find_served(images[0], chosen, session, name=name, repository=repository)
        host = acting_for(first.image.registry, session)
        others = (find_served(image, chosen, host, name=name, repository=repository) for image in images[1:])
        return [with_weights_volume(one, host) if weights_volume else one for one in (first, *others)]


def chosen_platform(given: str) -> Platform:
    return Platform.parse(given) if given else Platform.of_this_machine()


def settings_for(image: str, username: str, password_stdin: bool, plain_http: bool) -> dict[str, str]:
    """What the options for a registry come to: none for a layout."""
    registry = "" if is_layout(Path(image)) else Reference.parse(image).registry
    return options.registry_settings(registry, username, password_stdin, plain_http) if registry else {}


def pod_options(
    pull_secrets: list[str] | None, env: list[str] | None, env_from: list[str] | None, gpus: int, gpu_labels: bool
) -> PodOptions:
    """Raises NoSetting, and what PodOptions does."""
    from builder.deploy.pod import PodOptions

    return PodOptions(
        pull_secrets=tuple(pull_secrets or ()),
        env=tuple(map(setting, env or ())),
        env_from=tuple(env_from or ()),
        gpus=gpus,
        by_gpu_labels=gpu_labels,
    )


def setting(given: str) -> tuple[str, str]:
    """Name and value. Raises NoSetting."""
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise NoSetting(given=given)
    return name, value


def put(
    documents: Sequence[Document],
    comment: str,
    output_format: options.OutputFormat = options.OutputFormat.HUMAN,
    *,
    directory: Path | None = None,
    name: str = "",
) -> None:
    """On stdout, for ``kubectl apply -f -``, as YAML or as one List in JSON; or as the files of a Kustomize directory,
    from which what mbuild wrote before and does not now goes."""
    from builder.deploy.documents import to_yaml
    from builder.deploy.kustomize import kustomize_files, left_over

    if directory:
        files = kustomize_files(documents, name, comment)
        for old in left_over(directory, files):
            old.unlink()
        for file, text in files.items():
            atomic_write(directory / file, text.encode())
        typer.echo(str(directory))
    elif output_format is options.OutputFormat.JSON:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        sys.stdout.write(readable_json(everything).decode())
    else:
        sys.stdout.write(to_yaml(documents, comment))
