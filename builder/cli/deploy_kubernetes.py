"""The commands of ``mbuild deploy`` for clusters: Kubernetes, KServe, and what would change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.canonical import canonical_json
from builder.cli import deploy, options
from builder.cli.diff import print_comparison
from builder.cli.output import show
from builder.cli.session import host_session
from builder.cli.tables import Row, print_rows, print_table
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.deploy.compared import DocumentChange
    from builder.deploy.wanted import Reach
    from builder.pipeline.running.rollout import Rollout

IngressOption = Annotated[str, typer.Option("--ingress", metavar="HOST", help="Also an Ingress for this host.")]
IngressClassOption = Annotated[str, typer.Option("--ingress-class", metavar="NAME", help="Of the Ingress.")]
TlsOption = Annotated[str, typer.Option("--tls-secret", metavar="NAME", help="The Ingress's certificate.")]
GatewayOption = Annotated[
    str, typer.Option("--gateway", metavar="[NAMESPACE/]NAME", help="Also an HTTPRoute of this Gateway.")
]
HostOption = Annotated[list[str] | None, typer.Option("--host", help="With --gateway: for this host only.")]
MonitorOption = Annotated[
    bool, typer.Option("--service-monitor", help="Also a ServiceMonitor, for the Prometheus Operator.")
]
FromNamespaceOption = Annotated[
    list[str] | None, typer.Option("--from-namespace", metavar="NAME", help="Whose pods may ask, beside its own.")
]
CanaryOption = Annotated[
    int | None, typer.Option("--canary", min=1, max=99, metavar="PERCENT", help="Of the requests; --from has the rest.")
]
FromOption = Annotated[str, typer.Option("--from", metavar="REF", help="With --canary: the image that runs now.")]


class CanaryNeedsFrom(UsageError):
    code = "canary-needs-from"
    message = "{given} was given without {other}"
    hint = "a canary has two images: mbuild deploy kubernetes NEW --canary 10 --from OLD"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    app.command("kubernetes")(kubernetes_command)
    app.command("kserve")(kserve_command)
    app.command("diff")(diff_command)


def kubernetes_command(
    image: deploy.ImageArgument,
    name: deploy.NameOption = "",
    namespace: deploy.NamespaceOption = "",
    replicas: deploy.ReplicasOption = 2,
    max_replicas: deploy.MostOption = 0,
    cpu: deploy.CpuOption = "1",
    memory: deploy.MemoryOption = "",
    gpus: deploy.GpusOption = 1,
    gpu_labels: deploy.GpuLabelsOption = True,
    pull_secret: deploy.PullSecretOption = None,
    env: deploy.EnvOption = None,
    env_from: deploy.EnvFromOption = None,
    weights_volume: deploy.WeightsVolumeOption = False,
    ingress: IngressOption = "",
    ingress_class: IngressClassOption = "",
    tls_secret: TlsOption = "",
    gateway: GatewayOption = "",
    host: HostOption = None,
    service_monitor: MonitorOption = False,
    from_namespace: FromNamespaceOption = None,
    canary: CanaryOption = None,
    running: FromOption = "",
    kubernetes: deploy.KubernetesOption = "",
    output: deploy.DirectoryOption = None,
    repository: deploy.RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Write Kubernetes documents: `mbuild deploy kubernetes REF | kubectl apply -f -`."""
    from builder.deploy.canary import canary_documents
    from builder.deploy.kubernetes import kubernetes_documents
    from builder.deploy.schemas import require_valid
    from builder.deploy.wanted import Wanted

    if (canary is None) != (not running):
        raise CanaryNeedsFrom(given="--from" if running else "--canary", other="--canary" if running else "--from")
    version = _version(kubernetes, weights_volume)
    wanted = Wanted(
        namespace=namespace,
        replicas=replicas,
        most=max_replicas,
        cpu=cpu,
        memory=memory,
        weights_volume=weights_volume,
        pod=deploy.pod_options(pull_secret, env, env_from, gpus, gpu_labels),
        reach=_reach(ingress, ingress_class, tls_secret, gateway, host, service_monitor, from_namespace),
    )
    images = [image, *([running] if running else [])]
    login = (username, password_stdin, plain_http)
    served, *old = deploy.find_all(images, name, repository, platform, *login, weights_volume)
    made = canary_documents(old[0], served, wanted, canary or 0) if old else kubernetes_documents(served, wanted)
    documents = require_valid(made, version)
    comment = f"Written by `mbuild deploy kubernetes` for {served.image}"
    deploy.put(documents, comment, output_format, directory=output, name=served.name)


def _version(kubernetes: str, weights_volume: bool) -> str:
    """Whose schema holds; said before any registry is asked."""
    from builder.deploy.schemas import require_image_volumes, versions_for

    versions_for(kubernetes)
    return require_image_volumes(kubernetes) if weights_volume else kubernetes


def _reach(  # one parameter for each option of the command line
    ingress: str,
    ingress_class: str,
    tls_secret: str,
    gateway: str,
    hosts: list[str] | None,
    service_monitor: bool,
    from_namespaces: list[str] | None,
) -> Reach:
    from builder.deploy.wanted import Reach

    return Reach(
        ingress=ingress,
        ingress_class=ingress_class,
        tls_secret=tls_secret,
        gateway=gateway,
        hosts=tuple(hosts or ()),
        service_monitor=service_monitor,
        from_namespaces=tuple(from_namespaces or ()),
    )


def kserve_command(
    image: deploy.ImageArgument,
    name: deploy.NameOption = "",
    namespace: deploy.NamespaceOption = "",
    replicas: deploy.ReplicasOption = 2,
    max_replicas: deploy.MostOption = 0,
    cpu: deploy.CpuOption = "1",
    memory: deploy.MemoryOption = "",
    gpus: deploy.GpusOption = 1,
    gpu_labels: deploy.GpuLabelsOption = True,
    pull_secret: deploy.PullSecretOption = None,
    env: deploy.EnvOption = None,
    env_from: deploy.EnvFromOption = None,
    weights_volume: deploy.WeightsVolumeOption = False,
    kubernetes: deploy.KubernetesOption = "",
    output: deploy.DirectoryOption = None,
    repository: deploy.RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Write an InferenceService of KServe; of Triton's images with a ServingRuntime."""
    from builder.deploy.kserve import kserve_documents
    from builder.deploy.schemas import require_valid
    from builder.deploy.wanted import Wanted

    version = _version(kubernetes, weights_volume)
    pod = deploy.pod_options(pull_secret, env, env_from, gpus, gpu_labels)
    wanted = Wanted(namespace=namespace, replicas=replicas, most=max_replicas, cpu=cpu, memory=memory, pod=pod)
    login = (username, password_stdin, plain_http)
    (served,) = deploy.find_all([image], name, repository, platform, *login, weights_volume)
    documents = require_valid(kserve_documents(served, wanted), version)
    comment = f"Written by `mbuild deploy kserve` for {served.image}"
    deploy.put(documents, comment, output_format, directory=output, name=served.name)


def diff_command(
    image: deploy.ImageArgument,
    name: deploy.NameOption = "",
    namespace: Annotated[str, typer.Option("-n", "--namespace", help="Where it runs; default: kubectl's own.")] = "",
    context: Annotated[
        str, typer.Option("--context", help="Of kubectl's configuration; default: the current one.")
    ] = "",
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with status 1 where anything would change.")
    ] = False,
    repository: deploy.RepositoryOption = "",
    platform: options.PlatformOption = "",
    username: options.UsernameOption = "",
    password_stdin: options.PasswordOption = False,
    plain_http: options.PlainHttpOption = False,
    output_format: options.FormatOption = options.OutputFormat.HUMAN,
) -> None:
    """Show what an image would change of what runs, with the options that that was deployed with. Asks kubectl."""
    from builder.host.kubectl import Kubectl
    from builder.pipeline.running.deploy import find_served
    from builder.pipeline.running.rollout import compare_rollout

    settings = deploy.settings_for(image, username, password_stdin, plain_http)
    with host_session(quiet=True, settings=settings) as host:
        served = find_served(image, deploy.chosen_platform(platform), host, name=name, repository=repository)
        kubectl = Kubectl(run=host.run, namespace=namespace, context=context)
        found = compare_rollout(image, served, kubectl, host)
    show(found, output_format, lambda: _print(found))
    raise typer.Exit(int(exit_code and found.is_change))


def _print(found: Rollout) -> None:
    place = f" in {found.namespace}" if found.namespace else ""
    rows: list[Row] = [("name", f"{found.name}{place}"), ("runs", found.before or "nothing of this name")]
    rows += [("beside", f"{found.canary} (canary)")] if found.canary else []
    rows += [("would", found.after if found.before != found.after else "the same image")]
    rows += [("remark", found.remark)] if found.remark else []
    print_rows([*rows, ("", "")])
    changes = [row for one in found.documents for row in _rows(one)]
    print_table(["document", "what", "now", "then"], changes)
    if found.packages:
        print_rows([("", "")])
        print_comparison(found.packages)


def _rows(change: DocumentChange) -> Iterator[tuple[str, str, str, str]]:
    document = f"{change.kind} {change.name}"
    if not change.is_change:
        yield document, "the same", "", ""
    elif change.is_new:
        yield document, "new", "-", ""
    for number, one in enumerate(change.fields):
        yield "" if number else document, _words(one.path), _value(one.before), _value(one.after)


_MOST_SHOWN = 60
_CONTAINER = "spec.template.spec.containers[server]."
_WORDS = {
    f"{_CONTAINER}image": "image",
    f"{_CONTAINER}resources.requests.memory": "memory reserved",
    f"{_CONTAINER}resources.limits.memory": "memory at most",
    f"{_CONTAINER}resources.requests.cpu": "processors reserved",
    f"{_CONTAINER}resources.limits.cpu": "processors at most",
    f"{_CONTAINER}startupProbe.failureThreshold": "checks until a start has failed",
    f"{_CONTAINER}startupProbe.periodSeconds": "seconds between checks of a start",
    "spec.template.spec.terminationGracePeriodSeconds": "seconds to take leave",
    "spec.progressDeadlineSeconds": "seconds until a rollout has failed",
}


def _words(path: str) -> str:
    return _WORDS.get(path, path.removeprefix("spec.template.spec."))


def _value(value: Any) -> str:
    """Images and other words whole, what is a structure by its beginning."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else canonical_json(value).decode()
    return text if isinstance(value, str) or len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
