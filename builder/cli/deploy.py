"""``mbuild deploy``: what runs an image elsewhere, made from what the image says of itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options
from builder.cli.session import host_session
from builder.oci.layout import is_layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference

if TYPE_CHECKING:
    from builder.deploy.documents import Document
    from builder.deploy.served import Served

app = typer.Typer(help="Write what runs an image elsewhere, by its digest.", no_args_is_help=True)

ImageArgument = Annotated[
    str, typer.Argument(metavar="REF|LAYOUT", help="An image in a registry, or an OCI layout with --repository.")
]
NameOption = Annotated[str, typer.Option("--name", help="What it is called there; default: the model's name.")]
NamespaceOption = Annotated[str, typer.Option("-n", "--namespace", help="Write this namespace into each document.")]
ReplicasOption = Annotated[int, typer.Option("--replicas", min=1, help="How many pods there are at least.")]
CpuOption = Annotated[str, typer.Option("--cpu", help="Processors of a pod, and threads of its server: 2 or 500m.")]
MemoryOption = Annotated[str, typer.Option("--memory", help="As in 2Gi; default: by what the build measured.")]
RepositoryOption = Annotated[
    str, typer.Option("--repository", metavar="REGISTRY/NAME", help="Where the image of a LAYOUT is pulled from.")
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
    from builder.pipeline.deploy import find_served

    chosen = Platform.parse(platform) if platform else Platform.of_this_machine()
    registry = "" if is_layout(Path(image)) else Reference.parse(image).registry
    settings = options.registry_settings(registry, username, password_stdin, plain_http) if registry else {}
    with host_session(quiet=True, settings=settings) as host:
        return find_served(image, chosen, host, name=name, repository=repository)


def put(documents: Sequence[Document], comment: str, output_format: options.OutputFormat) -> None:
    """On stdout, for ``kubectl apply -f -``: YAML, or one List in JSON."""
    from builder.deploy.documents import to_yaml

    if output_format is options.OutputFormat.JSON:
        everything = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        sys.stdout.write(readable_json(everything).decode())
    else:
        sys.stdout.write(to_yaml(documents, comment))


@app.command("kubernetes")
def kubernetes_command(
    image: ImageArgument,
    name: NameOption = "",
    namespace: NamespaceOption = "",
    replicas: ReplicasOption = 2,
    cpu: CpuOption = "1",
    memory: MemoryOption = "",
    repository: RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Write Kubernetes documents: `mbuild deploy kubernetes REF | kubectl apply -f -`."""
    from builder.deploy.kubernetes import Wanted, kubernetes_documents
    from builder.deploy.sizing import size

    served = find(image, name, repository, platform, username, password_stdin, plain_http)
    wanted = Wanted(namespace=namespace, replicas=replicas, most=replicas)
    documents = tuple(kubernetes_documents(served, size(served, cpu=cpu, memory=memory), wanted))
    put(documents, f"Written by `mbuild deploy kubernetes` for {served.image}", output_format)
