"""The pod that serves an image, as Deployments and InferenceServices have it (core/v1 PodSpec).

It passes the Pod Security Standard "restricted", may write to one directory only, and tells Kubernetes from the image's
own report how long its start takes, what memory it needs, and how long it takes leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builder.deploy.documents import because
from builder.deploy.served import LIVE, READY, SCRATCH, UID, Served
from builder.deploy.sizing import Sizing
from builder.errors import UsageError
from builder.model.attached import MOUNT_PATH, SUB_PATH

CONTAINER = "server"
GPU = "nvidia.com/gpu"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - in the container

_SCRATCH_SIZE = "64Mi"
_SPREAD = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
_PORT = "MBUILD_PORT"
_DRIVER = "nvidia.com/cuda.driver-version.major"
_MAJOR, _MINOR = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
_CAPABILITY = re.compile(r"(\d+)\.(\d+)([a-z]?)")


class PortIsNamed(UsageError):
    code = "port-is-named"
    message = "--env {name}: every document names the image's own port"
    hint = "leave it out; a Service can have another port, and lead to that one, in an overlay"


@dataclass(frozen=True, kw_only=True, slots=True)
class PodOptions:
    """``pull_secrets`` are names of secrets with a registry's login; ``env`` are settings of the server, ``env_from``
    secrets that hold such; ``by_gpu_labels``: only nodes whose labels, as NVIDIA's GPU feature discovery writes them,
    say that they fit. Raises PortIsNamed."""

    pull_secrets: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    env_from: tuple[str, ...] = ()
    gpus: int = 1
    by_gpu_labels: bool = True

    def __post_init__(self) -> None:
        if _PORT in dict(self.env):
            raise PortIsNamed(name=_PORT)


def pod_spec(served: Served, sizing: Sizing, options: PodOptions) -> dict[str, Any]:
    """All but the service account and how pods are spread."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # Else a Service named mbuild would set MBUILD_PORT and the like, which are the server's own settings.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if options.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in options.pull_secrets]
    spec |= _placement(served, options)
    spec["terminationGracePeriodSeconds"] = because(
        sizing.stop, f"{sizing.settle} s before SIGTERM, {sizing.grace} s for requests in flight, and some more"
    )
    spec["containers"] = [container(served, sizing, options)]
    spec["volumes"] = list(_volumes(served, sizing))
    return spec


def container(served: Served, sizing: Sizing, options: PodOptions) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": str(served.runs),
        "ports": [{"name": name, "containerPort": port} for name, port in served.ports.named],
        **({"env": [{"name": name, "value": value} for name, value in options.env]} if options.env else {}),
        **({"envFrom": [{"secretRef": {"name": name}} for name in options.env_from]} if options.env_from else {}),
        "resources": _resources(served, sizing, options),
        **_probes(sizing),
        # The kubelet waits before SIGTERM, so that nothing is sent to a server that no longer listens.
        "lifecycle": {"preStop": {"sleep": {"seconds": because(sizing.settle, "until all have heard that it goes")}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": list(_mounts(served)),
    }


def _resources(served: Served, sizing: Sizing, options: PodOptions) -> dict[str, Any]:
    memory = sizing.memory
    requests: dict[str, Any] = {"cpu": sizing.cpu, "memory": f"{memory.request}Mi"}
    limits: dict[str, Any] = {
        "cpu": because(sizing.cpu, "the server takes as many threads as this allows"),
        "memory": because(f"{memory.limit}Mi", memory.reason),
    }
    if served.on_gpu:
        limits[GPU] = options.gpus
    return {"requests": requests, "limits": limits}


def _probes(sizing: Sizing) -> dict[str, Any]:
    """Ready means loaded, warmed up, and on the processor that was asked for; alive, that the server answers at all."""
    start, port = sizing.start, "http"
    ready, live = ({"httpGet": {"path": path, "port": port}} for path in (READY, LIVE))
    failures = because(start.failures, start.reason)
    return {
        "startupProbe": {**ready, "periodSeconds": start.period, "timeoutSeconds": 2, "failureThreshold": failures},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    }


def _mounts(served: Served) -> Iterator[dict[str, Any]]:
    yield {"name": "scratch", "mountPath": SCRATCH}
    if served.face.server == "triton":
        yield {"name": "shared-memory", "mountPath": SHARED_MEMORY}
    if served.volume:
        yield {"name": "models", "mountPath": MOUNT_PATH, "subPath": SUB_PATH, "readOnly": True}


def _volumes(served: Served, sizing: Sizing) -> Iterator[dict[str, Any]]:
    """In memory, within the container's limit."""
    yield {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": _SCRATCH_SIZE}}
    if served.face.server == "triton":
        size = because(f"{sizing.memory.limit // 2}Mi", "tensors of all requests in flight pass through it")
        yield {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    if served.volume:
        yield {"name": "models", "image": {"reference": str(served.volume.weights), "pullPolicy": "IfNotPresent"}}


def _placement(served: Served, options: PodOptions) -> dict[str, Any]:
    """Where it can run."""
    selector = {"kubernetes.io/os": "linux"}
    if len(served.architectures) == 1:
        selector["kubernetes.io/arch"] = served.architectures[0]
    placement: dict[str, Any] = {"nodeSelector": selector}
    if served.on_gpu:
        placement["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
        if options.by_gpu_labels and (terms := list(_gpu_terms(served))):
            required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
            placement["affinity"] = {"nodeAffinity": required}
    return placement


def _gpu_terms(served: Served) -> Iterator[dict[str, Any]]:
    """Any of these: compiled code runs on its own and later minor versions of a major one, code for exactly one GPU
    (9.0a) there only, PTX on all later ones (CUDA C++ Programming Guide); never on an older driver."""
    gpu = served.face.gpu
    assert gpu is not None
    driver = _number(gpu.driver)
    also = [_above(_DRIVER, driver)] if driver else []
    lowest: dict[int, int] = {}
    for major, minor, exact in map(_capability, (*gpu.capabilities, gpu.ptx)):
        if exact:
            yield _term(*also, _is(_MAJOR, major), _is(_MINOR, minor))
        elif major:
            lowest[major] = min(minor, lowest.get(major, minor))
    newest, _, exact = _capability(gpu.ptx)
    compiles = newest and not exact
    for major, minor in sorted(lowest.items()):
        if not (compiles and major > newest):
            yield _term(*also, _is(_MAJOR, major), *([_above(_MINOR, minor)] if minor else []))
    if compiles:
        yield _term(*also, _above(_MAJOR, newest + 1))


def _capability(text: str) -> tuple[int, int, bool]:
    """Major, minor, and whether it is for exactly that one; 0 where it is not told."""
    found = _CAPABILITY.fullmatch(text)
    return (int(found[1]), int(found[2]), bool(found[3])) if found else (0, 0, False)


def _number(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _term(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"matchExpressions": list(expressions)}


def _is(key: str, value: int) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [str(value)]}


def _above(key: str, least: int) -> dict[str, Any]:
    """``least`` or more: Kubernetes has only Gt."""
    return {"key": key, "operator": "Gt", "values": [str(least - 1)]}


def spread(labels: dict[str, str]) -> list[dict[str, Any]]:
    """Over zones and nodes, as far as that goes."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in _SPREAD
    ]
