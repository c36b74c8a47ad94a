"""Where the seconds between the container's start and its first ready answer went, as far as the server's log tells.

Servers that log no ``ready`` event with their seconds, as ours does (docs/server.md), have no split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_PARTS = ("seconds_imports", "seconds_sessions", "seconds_warm_up")


@dataclass(frozen=True, kw_only=True, slots=True)
class StartSplit:
    """Seconds. ``process`` is all that is not the server's own: the container, its Python, and until we were told."""

    process: float
    imports: float
    sessions: float
    warm_up: float

    def to_json(self) -> dict[str, object]:
        return {
            "process": round(self.process, 3),
            "imports": round(self.imports, 3),
            "sessions": round(self.sessions, 3),
            "warm_up": round(self.warm_up, 3),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, float]) -> Self:
        return cls(**value)

    def __str__(self) -> str:
        return (
            f"process {self.process:.2f}, imports {self.imports:.2f}, "
            f"sessions {self.sessions:.2f}, warm-up {self.warm_up:.2f}"
        )


def start_split(log: str, ready_seconds: float) -> StartSplit | None:
    """The split of ``ready_seconds``; None where ``log`` does not have it."""
    for line in log.splitlines():
        event = _event(line)
        if event.get("message") == "ready":
            parts = [float(event[part]) for part in _PARTS if isinstance(event.get(part), int | float)]
            if len(parts) == len(_PARTS):
                rest = max(0.0, ready_seconds - sum(parts))
                return StartSplit(process=rest, imports=parts[0], sessions=parts[1], warm_up=parts[2])
    return None


def _event(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
