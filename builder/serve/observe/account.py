"""What the inference tells of one request, for the access log and for traces; made only where one of them is on."""

from __future__ import annotations

from dataclasses import dataclass

from .metrics import Durations, ModelMetrics


@dataclass(frozen=True, slots=True)
class Account:
    """``queued_ns`` is when it began to wait for a thread, 0 where it did not; ``run_rows`` are those of the run that
    it was part of, 0 where it was not run."""

    metrics: ModelMetrics
    spent: Durations
    request_id: str = ""
    queued_ns: int = 0
    run_rows: int = 0

    @property
    def model(self) -> str:
        return self.metrics.model

    @property
    def version(self) -> str:
        return self.metrics.version
