"""How requests come to the pods, and from where they may: Service, NetworkPolicy, Ingress, Gateway API's HTTPRoute, and
the Prometheus Operator's ServiceMonitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.deploy.documents import Document, because
from builder.deploy.served import METRICS, Served
from builder.deploy.wanted import NAME, TRACK, Wanted, metadata

_PROTOCOLS = {"grpc": "kubernetes.io/h2c"}


def service(served: Served, wanted: Wanted, track: str = "") -> Document:
    """Before all pods of a name, or with ``track`` those of one Deployment."""
    ports = [
        {"name": name, "port": port, "targetPort": name, "appProtocol": _PROTOCOLS.get(name, "http")}
        for name, port in served.ports.named
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(served, wanted, track=track),
        "spec": {"selector": {NAME: served.name, **({TRACK: track} if track else {})}, "ports": ports},
    }


def network_policy(served: Served, wanted: Wanted) -> Document:
    """Who may ask, and that the server itself asks nobody. Policies add up: another one may allow more."""
    here: list[dict[str, Any]] = [{"podSelector": {}}]
    named = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
        for name in wanted.reach.from_namespaces
    ]
    anywhere: list[dict[str, Any]] = [{"namespaceSelector": {}}] if wanted.reach.is_open else []
    why = "from every namespace; --from-namespace names those that ask" if anywhere else ""
    ports = [{"protocol": "TCP", "port": because(port, why) if why else port} for _, port in served.ports.named]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(served, wanted),
        "spec": {
            "podSelector": {"matchLabels": {NAME: served.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [*here, *named, *anywhere], "ports": ports}],
            "egress": [],
        },
    }


def ingress(served: Served, wanted: Wanted) -> Document:
    reach = wanted.reach
    backend = {"service": {"name": served.name, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(served, wanted),
        "spec": {
            **({"ingressClassName": reach.ingress_class} if reach.ingress_class else {}),
            **({"tls": [{"hosts": [reach.ingress], "secretName": reach.tls_secret}]} if reach.tls_secret else {}),
            "rules": [{"host": reach.ingress, "http": {"paths": paths}}],
        },
    }


def route(served: Served, wanted: Wanted, weights: Mapping[str, int]) -> Document:
    """``weights``: of each Service's name its part of the requests."""
    namespace, _, name = wanted.reach.gateway.rpartition("/")
    backends = [{"name": one, "port": served.ports.http, "weight": weight} for one, weight in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(served, wanted),
        "spec": {
            "parentRefs": [{"name": name, **({"namespace": namespace} if namespace else {})}],
            **({"hostnames": list(wanted.reach.hosts)} if wanted.reach.hosts else {}),
            "rules": [{"backendRefs": backends}],
        },
    }


def service_monitor(served: Served, wanted: Wanted) -> Document:
    """Each pod's figures, with the track that it belongs to."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(served, wanted),
        "spec": {
            "selector": {
                "matchLabels": {NAME: served.name},
                # A Service before one Deployment only has the same pods as the one before all.
                "matchExpressions": [{"key": TRACK, "operator": "DoesNotExist"}],
            },
            "podTargetLabels": [TRACK],
            "endpoints": [{"port": served.ports.metrics_name, "path": METRICS}],
        },
    }
