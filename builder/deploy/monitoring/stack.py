"""Prometheus and Grafana beside an image on one machine: services of its Compose file, and the files that they read.

Both are the upstream images, by tag; what they show comes from the same rules and the same dashboard as anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.canonical import readable_json
from builder.deploy.compose import LOOPBACK, hardened
from builder.deploy.documents import Document, because, to_yaml
from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched
from builder.deploy.served import METRICS, Served
from builder.errors import UsageError

DIRECTORY = "monitoring"
_PROMETHEUS, _GRAFANA = "prom/prometheus:v3.5.0", "grafana/grafana:12.1.0"
_NOBODY, _GRAFANA_USER = 65534, 472
_PROMETHEUS_PORT, _GRAFANA_PORT = 9090, 3000
_EVERY = "15s"


class ServiceNameTaken(UsageError):
    code = "service-name-taken"
    message = "the model is called {name}, and so is the service that watches it"
    hint = "call it otherwise with --name"


def with_monitoring(document: Document) -> Document:
    """The Compose file with both services and what they keep. Raises ServiceNameTaken."""
    watching = {"prometheus": _prometheus(), "grafana": _grafana()}
    if taken := document["services"].keys() & watching.keys():
        raise ServiceNameTaken(name=taken.pop())
    services = {**document["services"], **watching}
    return {**document, "services": services, "volumes": {"prometheus": {}, "grafana": {}}}


def monitoring_files(served: Served, watched: Watched) -> Mapping[str, str]:
    """Contents by their paths beside the Compose file."""
    provisioned = f"{DIRECTORY}/provisioning"
    return {
        f"{DIRECTORY}/prometheus.yaml": to_yaml([_scraping(served, watched)]),
        f"{DIRECTORY}/rules.yaml": to_yaml([alert_rules(watched)]),
        f"{DIRECTORY}/dashboards/{served.name}.json": readable_json(dashboard(watched)).decode(),
        f"{provisioned}/datasources/prometheus.yaml": to_yaml([_data_source()]),
        f"{provisioned}/dashboards/mbuild.yaml": to_yaml([_provider()]),
    }


def _prometheus() -> dict[str, Any]:
    return {
        "image": _PROMETHEUS,
        "command": ["--config.file=/etc/prometheus/prometheus.yaml", "--storage.tsdb.path=/prometheus"],
        "ports": [f"{LOOPBACK}:{_PROMETHEUS_PORT}:{_PROMETHEUS_PORT}"],
        "volumes": [f"./{DIRECTORY}:/etc/prometheus:ro", "prometheus:/prometheus"],
        **hardened(_NOBODY),
        "mem_limit": "1g",
        "restart": "unless-stopped",
    }


def _grafana() -> dict[str, Any]:
    password = "${GRAFANA_PASSWORD:?choose one, in the environment or in a file named .env}"  # noqa: S105 - Compose asks
    return {
        "image": _GRAFANA,
        "environment": {
            "GF_SECURITY_ADMIN_PASSWORD": password,
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        },
        "ports": [f"{LOOPBACK}:{_GRAFANA_PORT}:{_GRAFANA_PORT}"],
        "volumes": [
            f"./{DIRECTORY}/provisioning:/etc/grafana/provisioning:ro",
            f"./{DIRECTORY}/dashboards:/etc/grafana/dashboards:ro",
            "grafana:/var/lib/grafana",
        ],
        **hardened(_GRAFANA_USER),
        "tmpfs": ["/tmp", "/var/log/grafana"],  # noqa: S108 - in the container
        "mem_limit": "512m",
        "depends_on": ["prometheus"],
        "restart": "unless-stopped",
    }


def _scraping(served: Served, watched: Watched) -> Document:
    target = f"{served.name}:{served.ports.metrics}"
    job = {"job_name": watched.job, "metrics_path": METRICS, "static_configs": [{"targets": [target]}]}
    return {
        "global": {
            "scrape_interval": because(_EVERY, "also the shortest step of a panel"),
            "evaluation_interval": _EVERY,
        },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [job],
    }


def _data_source() -> Document:
    url = f"http://prometheus:{_PROMETHEUS_PORT}"
    source = {"name": "Prometheus", "type": "prometheus", "access": "proxy", "url": url, "isDefault": True}
    return {"apiVersion": 1, "datasources": [{**source, "jsonData": {"timeInterval": _EVERY}}]}


def _provider() -> Document:
    files = {"path": "/etc/grafana/dashboards"}
    return {"apiVersion": 1, "providers": [{"name": "mbuild", "type": "file", "options": files}]}
