"""How many pods there are: an autoscaler (autoscaling/v2), and how many may be taken away at once (policy/v1)."""

from __future__ import annotations

from typing import Any

from builder.deploy.documents import Document, because
from builder.deploy.served import Served
from builder.deploy.wanted import NAME, STABLE, TRACK, Wanted, metadata

BUSY_PERCENT = 70
_WAITING = "nv_inference_pending_request_count"
_MOST_WAITING = 4


def autoscaler(served: Served, wanted: Wanted) -> Document:
    """By the processors' load, which is what a pod on a CPU is short of. On a GPU by the requests that wait, which the
    cluster must offer as a metric of pods."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(served, wanted),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": served.name},
            "minReplicas": wanted.replicas,
            "maxReplicas": wanted.most_of(served),
            "metrics": [_waiting() if served.on_gpu else _busy()],
        },
    }


def _busy() -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": because(BUSY_PERCENT, "percent of --cpu")}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _waiting() -> dict[str, Any]:
    name = because(_WAITING, "the server's own; Prometheus Adapter or KEDA offers it to autoscalers")
    target = {"type": "AverageValue", "averageValue": str(_MOST_WAITING)}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def disruption_budget(served: Served, wanted: Wanted) -> Document:
    """One at a time when nodes are emptied; what does not run anyway is in nobody's way."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(served, wanted),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {NAME: served.name, TRACK: STABLE}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
