"""All rules as Prometheus loads them."""

from __future__ import annotations

from typing import Any

from builder.deploy.monitoring.availability import availability, records
from builder.deploy.monitoring.load import load
from builder.deploy.monitoring.resources import resources
from builder.deploy.monitoring.watched import Watched


def alert_rules(watched: Watched) -> dict[str, Any]:
    """A file of rules, which is what the spec of a PrometheusRule is, too."""
    prefix = f"mbuild-{watched.name}" if watched.name else "mbuild"
    groups = [{"name": f"{prefix}-records", "rules": list(records(watched))}]
    for part in (availability, load, resources):
        rules = [alert.to_rule() for alert in part(watched)]
        if rules:
            groups.append({"name": f"{prefix}-{part.__name__}", "rules": rules})
    return {"groups": groups}
