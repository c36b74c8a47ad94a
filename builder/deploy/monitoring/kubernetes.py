"""The rules and the dashboard as Kubernetes takes them: a PrometheusRule of the Prometheus Operator
(monitoring.coreos.com/v1) and a ConfigMap with the label by which the sidecar of Grafana's chart finds dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builder.canonical import readable_json
from builder.deploy.documents import Document
from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched

Labels = Sequence[tuple[str, str]]
_SIDECAR = ("grafana_dashboard", "1")


def prometheus_rule(watched: Watched, namespace: str = "", labels: Labels = ()) -> Document:
    """``labels`` are those by which an operator's ``ruleSelector`` finds it."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _metadata(_name(watched), namespace, labels),
        "spec": alert_rules(watched),
    }


def dashboard_config_map(watched: Watched, namespace: str = "", labels: Labels = ()) -> Document:
    name = f"{_name(watched)}-dashboard"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(name, namespace, (_SIDECAR, *labels)),
        "data": {f"{name}.json": readable_json(dashboard(watched)).decode()},
    }


def _name(watched: Watched) -> str:
    return f"{watched.name or 'mbuild'}-monitoring"


def _metadata(name: str, namespace: str, labels: Labels) -> dict[str, Any]:
    space = {"namespace": namespace} if namespace else {}
    return {"name": name, **space, "labels": {"app.kubernetes.io/managed-by": "mbuild", **dict(labels)}}
