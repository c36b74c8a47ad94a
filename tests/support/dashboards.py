"""What a Grafana dashboard asks of Prometheus, as Grafana sends it when every value of its variables is chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


def targets(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Title of the panel and question, with the variables in it."""
    for panel in dashboard["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


def asked(dashboard: dict[str, Any], interval: str = "1m") -> list[str]:
    return [sent(expression, interval) for _, expression in targets(dashboard)]


def sent(expression: str, interval: str = "1m") -> str:
    """``interval`` stands for $__rate_interval."""
    return re.sub(r"\$(?!__)\w+", ".*", expression.replace("$__rate_interval", interval))
