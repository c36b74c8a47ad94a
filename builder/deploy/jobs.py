"""Kubernetes Jobs that build a fleet, one for each model (batch/v1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from builder.deploy.documents import Document
from builder.plan.fleet import PlannedMember

_MODELS, _CACHE, _DOCKER = PurePosixPath("/work/models"), PurePosixPath("/work/cache"), PurePosixPath("/work/docker")
_UID = 10001
_KEPT_SECONDS = 24 * 3600
_MOST_NAME = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class JobSettings:
    """``image`` has mbuild in it; ``models`` is the claim of the volume with the model directories; ``cache`` a claim
    that jobs share (empty: each has its own, gone with it); ``secret`` holds the registry's login
    (kubernetes.io/dockerconfigjson), empty for none."""

    image: str
    models: str
    cache: str = ""
    secret: str = ""


def build_jobs(members: Sequence[PlannedMember], settings: JobSettings) -> Iterator[Document]:
    for member in members:
        name = f"mbuild-{member.name}-{member.target}".replace("_", "-").replace(".", "-")[:_MOST_NAME].rstrip("-")
        labels = {"app.kubernetes.io/name": "mbuild", "app.kubernetes.io/component": "build"}
        yield {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "backoffLimit": 1,
                "ttlSecondsAfterFinished": _KEPT_SECONDS,
                "template": {"metadata": {"labels": labels}, "spec": _pod(member, settings)},
            },
        }


def _pod(member: PlannedMember, settings: JobSettings) -> dict[str, Any]:
    mounts = [
        {"name": "models", "mountPath": str(_MODELS)},
        {"name": "cache", "mountPath": str(_CACHE)},
    ]
    cache = {"persistentVolumeClaim": {"claimName": settings.cache}} if settings.cache else {"emptyDir": {}}
    volumes: list[dict[str, Any]] = [
        {"name": "models", "persistentVolumeClaim": {"claimName": settings.models}},
        {"name": "cache", **cache},
    ]
    env = [{"name": "MBUILD_CACHE", "value": str(_CACHE)}, {"name": "HOME", "value": str(_CACHE)}]
    if settings.secret:
        mounts.append({"name": "login", "mountPath": str(_DOCKER)})
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volumes.append({"name": "login", "secret": {"secretName": settings.secret, "items": items}})
        env.append({"name": "DOCKER_CONFIG", "value": str(_DOCKER)})
    model = str(_MODELS / member.path)
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "fsGroup": _UID,
            # mbuild runs converters and the image's test in user namespaces, which RuntimeDefault forbids.
            "seccompProfile": {"type": "Unconfined"},
        },
        "containers": [
            {
                "name": "mbuild",
                "image": settings.image,
                "command": [
                    *("mbuild", "build", model, "--target", member.target, *member.options),
                    *("--tag", member.tag, "--push"),
                ],
                "env": env,
                "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "8Gi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
