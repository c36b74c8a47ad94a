"""One alert: its condition, and what whoever is woken by it needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from builder.deploy.monitoring.watched import MODEL_LABELS, REPLICA_LABELS, by

CRITICAL, WARNING = "critical", "warning"
EACH_MODEL, EACH_REPLICA = by(*MODEL_LABELS), by(*REPLICA_LABELS)
OF_MODEL = "{{ $labels.model }} (version {{ $labels.version }}) of {{ $labels.job }}"
OF_REPLICA = "{{ $labels.instance }} of {{ $labels.job }}"
SHARE, NUMBER = "{{ $value | humanizePercentage }}", "{{ $value | humanize }}"
FEWEST = 10
"""Failures below which a share of them says little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """``lasts`` is how long the condition has to hold; ``runbook`` says what to look at and to do, in order."""

    name: str
    severity: str
    expression: str
    lasts: str
    summary: str
    description: str
    runbook: str

    def to_rule(self) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description, "runbook": self.runbook},
        }
