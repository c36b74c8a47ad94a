"""An image on Kubernetes: Deployment, Service and what belongs to them, as values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.deploy.documents import Document
from builder.deploy.pod import pod_spec, spread
from builder.deploy.scaling import autoscaler, disruption_budget
from builder.deploy.served import Served
from builder.deploy.traffic import ingress, network_policy, route, service, service_monitor
from builder.deploy.wanted import NAME, STABLE, TRACK, WANTED, Wanted, labels, metadata, sizing_of, told

_LEAST_DEADLINE = 600


def kubernetes_documents(served: Served, wanted: Wanted) -> Iterator[Document]:
    """In the order in which they are best made: what is referred to comes first. Raises MalformedQuantity."""
    yield service_account(served, wanted)
    yield network_policy(served, wanted)
    yield service(served, wanted)
    scaled = wanted.most_of(served) > wanted.replicas
    yield deployment(served, wanted, replicas=None if scaled else wanted.replicas)
    if scaled:
        yield autoscaler(served, wanted)
    if wanted.replicas > 1:
        yield disruption_budget(served, wanted)
    if wanted.reach.ingress:
        yield ingress(served, wanted)
    if wanted.reach.gateway:
        yield route(served, wanted, {served.name: 1})
    if wanted.reach.service_monitor:
        yield service_monitor(served, wanted)


def service_account(served: Served, wanted: Wanted) -> Document:
    """One of its own, without a token: the server never speaks to Kubernetes."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(served, wanted),
        "automountServiceAccountToken": False,
    }


def deployment(served: Served, wanted: Wanted, *, replicas: int | None, track: str = STABLE) -> Document:
    """``replicas`` None: an autoscaler says, and applying the document again must not take that back."""
    selector, sizing = {NAME: served.name, TRACK: track}, sizing_of(served, wanted)
    pod = {
        "serviceAccountName": served.name,
        **pod_spec(served, sizing, wanted.pod),
        "topologySpreadConstraints": spread(selector),
    }
    named = metadata(served, wanted, track="" if track == STABLE else track)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**named, "annotations": {**told(served), WANTED: wanted.to_text()}},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _strategy(served, wanted)},
            "progressDeadlineSeconds": max(_LEAST_DEADLINE, 2 * sizing.start.seconds),
            "template": {
                "metadata": {"labels": {**labels(served), TRACK: track}, "annotations": told(served)},
                "spec": pod,
            },
        },
    }


def _strategy(served: Served, wanted: Wanted) -> dict[str, Any]:
    """A new pod first; of several on GPUs one less instead, since a spare GPU may never come."""
    if served.on_gpu and wanted.replicas > 1:
        return {"maxUnavailable": 1, "maxSurge": 0}
    return {"maxUnavailable": 0, "maxSurge": 1}
