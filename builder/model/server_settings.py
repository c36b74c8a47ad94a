"""``server`` of model.yaml: what the server in the image shall do otherwise than by itself (docs/server.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingSettings:
    """How requests are put together in one run. ``max_batch`` 0: as many rows as suit the processor; 1: never.
    A request is held back for at most ``delay_seconds``, and not where ``preferred`` rows are together."""

    max_batch: int = 0
    delay_seconds: float = 0.0
    preferred: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """See the schema. 0: ``threads`` and ``processes`` by the container's processors, ``max_body_bytes`` by memory."""

    grace_seconds: float = 25.0
    max_body_bytes: int = 0
    threads: int = 0
    processes: int = 1
    queue: int = 512
    batching: BatchingSettings = BatchingSettings()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ServerSettings:
        """What the schema has allowed."""
        batching = value.get("batching", {})
        preferred = tuple(batching.get("preferred", ()))
        return cls(**{**value, "batching": BatchingSettings(**{**batching, "preferred": preferred})})

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "batching": {**asdict(self.batching), "preferred": list(self.batching.preferred)}}


USUAL_SERVER = ServerSettings()
