"""The rules and the dashboard as Kubernetes takes them: a PrometheusRule of the Prometheus Operator
(monitoring.coreos.com/v1) and a ConfigMap with the label by which the sidecar of Grafana's chart finds dashboards."""

from __future__ import annotations

from typing import Any

from builder.canonical import readable_json
from builder.deploy.documents import Document
from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched

DASHBOARD_FILE = "dashboard.json"


def monitoring_documents(watched: Watched) -> tuple[Document, ...]:
    """Both, named after the image."""
    name = f"{watched.name or 'mbuild'}-monitoring"
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": _metadata(name, {}),
        "spec": alert_rules(watched),
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(f"{name}-dashboard", {"grafana_dashboard": "1"}),
        "data": {f"{name}-{DASHBOARD_FILE}": readable_json(dashboard(watched)).decode()},
    }
    return rule, config


def _metadata(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "labels": {"app.kubernetes.io/managed-by": "mbuild", **labels}}
