"""The commands of ``mbuild deploy`` that write files of other tools: Compose, Helm, Prometheus and Grafana."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from builder.canonical import readable_json
from builder.cli import options
from builder.cli.deploy import (
    CpuOption,
    EnvFromOption,
    EnvOption,
    GpuLabelsOption,
    GpusOption,
    ImageArgument,
    MemoryOption,
    MostOption,
    NameOption,
    NamespaceOption,
    PullSecretOption,
    ReplicasOption,
    RepositoryOption,
    find,
    pod_options,
    setting,
)
from builder.errors import UsageError
from builder.host.fs import atomic_write

DirectoryOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="The directory to write into; what it has stays.")
]


class MalformedLabel(UsageError):
    code = "malformed-label"
    message = "--label is {given!r}, which is no label"
    hint = "write KEY=VALUE, for example --label release=prometheus"


class NoPlaceForMonitoring(UsageError):
    code = "no-place-for-monitoring"
    message = "--monitoring was given, but not where its files go"
    hint = "name a directory with -o: Prometheus and Grafana read their settings from files beside compose.yaml"


class LabelsWithoutKubernetes(UsageError):
    code = "labels-without-kubernetes"
    message = "{option} was given, but not --kubernetes: the files of Prometheus and Grafana have nothing like it"
    hint = "add --kubernetes, or leave {option} out"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    app.command("monitoring")(monitoring_command)
    app.command("compose")(compose_command)
    app.command("helm")(helm_command)


def monitoring_command(
    output: DirectoryOption,
    image: Annotated[
        str, typer.Argument(metavar="[REF|LAYOUT]", help="What is watched; default: any image that mbuild built.")
    ] = "",
    job: Annotated[
        str, typer.Option("--job", help="The job under which Prometheus scrapes it; default: the image's name.")
    ] = "",
    objective: Annotated[
        float, typer.Option("--objective", min=50, max=99.999, help="Per cent of requests that have to be answered.")
    ] = 99.9,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="A PrometheusRule and a ConfigMap instead of plain files.")
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label that the operator looks for.")
    ] = None,
    namespace: NamespaceOption = "",
    name: NameOption = "",
    repository: RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
) -> None:
    """Write alert rules for Prometheus and a dashboard for Grafana."""
    from builder.deploy.documents import to_yaml
    from builder.deploy.monitoring.grafana import dashboard
    from builder.deploy.monitoring.kubernetes import dashboard_config_map, prometheus_rule
    from builder.deploy.monitoring.rules import alert_rules
    from builder.deploy.monitoring.watched import Watched, watch
    from builder.deploy.schemas import require_valid

    share, labels = round(objective / 100, 9), _labels(label or ())
    if not kubernetes and (label or namespace):
        raise LabelsWithoutKubernetes(option="--label" if label else "--namespace")
    watched = Watched(job=job, objective=share)
    if image:
        served = find(image, name, repository, platform, username, password_stdin, plain_http)
        watched = watch(served, job, share)
    comment = "Written by `mbuild deploy monitoring`" + (f" for {served.image}" if image else "")
    if kubernetes:
        made = prometheus_rule(watched, namespace, labels), dashboard_config_map(watched, namespace, labels)
        rule, config = require_valid(made)
        files = {"prometheusrule.yaml": to_yaml([rule], comment), "dashboard.yaml": to_yaml([config], comment)}
    else:
        shown = readable_json(dashboard(watched)).decode()
        files = {"rules.yaml": to_yaml([alert_rules(watched)], comment), "dashboard.json": shown}
    write(output, files)


def compose_command(
    image: ImageArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write compose.yaml there; default: to the terminal."),
    ] = None,
    publish: Annotated[
        str, typer.Option("--publish", metavar="[ADDRESS:]PORT", help="Where it is reached; of this machine alone.")
    ] = "8000",
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="With Prometheus and Grafana beside it, set up; needs -o.")
    ] = False,
    cpu: CpuOption = "1",
    memory: MemoryOption = "",
    env: EnvOption = None,
    name: NameOption = "",
    repository: RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
) -> None:
    """Write a Compose file for one machine: `docker compose up --wait`."""
    from builder.deploy.compose import Published, compose_document
    from builder.deploy.documents import to_yaml
    from builder.deploy.monitoring.stack import monitoring_files, with_monitoring
    from builder.deploy.monitoring.watched import watch
    from builder.deploy.pod import PodOptions
    from builder.deploy.wanted import Wanted, sizing_of

    published = Published.parse(publish)
    if monitoring and output is None:
        raise NoPlaceForMonitoring
    served = find(image, name, repository, platform, username, password_stdin, plain_http)
    wanted = Wanted(cpu=cpu, memory=memory, pod=PodOptions(env=tuple(map(setting, env or ()))))
    document = compose_document(served, sizing_of(served, wanted), published, dict(wanted.pod.env))
    files = monitoring_files(served, watch(served)) if monitoring else {}
    comment = f"Written by `mbuild deploy compose` for {served.image}"
    text = to_yaml([with_monitoring(document) if monitoring else document], comment)
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, {"compose.yaml": text, **files})


def helm_command(
    image: ImageArgument,
    output: DirectoryOption,
    name: NameOption = "",
    replicas: ReplicasOption = 2,
    max_replicas: MostOption = 0,
    cpu: CpuOption = "1",
    memory: MemoryOption = "",
    gpus: GpusOption = 1,
    gpu_labels: GpuLabelsOption = True,
    pull_secret: PullSecretOption = None,
    env: EnvOption = None,
    env_from: EnvFromOption = None,
    repository: RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
) -> None:
    """Write a Helm chart of what `mbuild deploy kubernetes` writes: `helm install NAME DIR`."""
    from builder.deploy.helm.chart import chart_files
    from builder.deploy.kubernetes import kubernetes_documents
    from builder.deploy.schemas import require_valid
    from builder.deploy.wanted import Wanted

    pod = pod_options(pull_secret, env, env_from, gpus, gpu_labels)
    wanted = Wanted(replicas=replicas, most=max_replicas, cpu=cpu, memory=memory, pod=pod)
    served = find(image, name, repository, platform, username, password_stdin, plain_http)
    require_valid(kubernetes_documents(served, wanted))
    write(output, chart_files(served, wanted))


def write(directory: Path, files: Mapping[str, str]) -> None:
    """Each in its place; their paths go to stdout."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text.encode())
        typer.echo(str(path))


def _labels(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = [one.partition("=") for one in given]
    for key, equals, value in pairs:
        if not key or not equals:
            raise MalformedLabel(given=f"{key}{equals}{value}")
    return tuple((key, value) for key, _, value in pairs)
