"""What each model did: counters, and Triton's statistics document of them.

Written on the event loop only, so plain integers do.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
_LISTED_ROWS = 128
LATENCY_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
"""Upper bounds of the buckets of durations; those of Triton's histogram are among them."""
_BOUNDS_NS = [round(each * 1e9) for each in LATENCY_SECONDS]


@dataclass(slots=True)
class Durations:
    """Nanoseconds of one request; ``request`` is from its last byte to the response."""

    request: int = 0
    queue: int = 0
    compute_input: int = 0
    compute_infer: int = 0
    compute_output: int = 0


@dataclass(slots=True)
class BatchTimes:
    """Runs of one size: how many, and their nanoseconds together."""

    count: int = 0
    compute_input: int = 0
    compute_infer: int = 0
    compute_output: int = 0


@dataclass(slots=True)
class ModelMetrics:
    model: str
    version: str
    success: int = 0
    failure: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    inferences: int = 0
    executions: int = 0
    pending: int = 0
    last_inference_ms: int = 0
    failed_ns: int = 0
    spent: Durations = field(default_factory=Durations)
    batches: dict[int, BatchTimes] = field(default_factory=dict)
    """By rows; larger runs than clients usually ask for are counted, not listed."""
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_SECONDS) + 1))
    """Successful requests by duration: a number for each bucket, and one for what took longer."""

    def executed(self, rows: int, nanoseconds: int) -> None:
        """A run of the model, for one request or for several."""
        self.executions += 1
        batch = self.batches.get(rows)
        if batch is None:
            if rows > _LISTED_ROWS:
                return
            batch = self.batches[rows] = BatchTimes()
        batch.count += 1
        batch.compute_infer += nanoseconds

    def succeeded(self, durations: Durations, rows: int = 1, run_rows: int = 1) -> None:
        """A request of ``rows`` that was part of a run of ``run_rows``."""
        self.success += 1
        self.inferences += rows
        batch = self.batches.get(run_rows)
        if batch is not None:
            batch.compute_input += durations.compute_input
            batch.compute_output += durations.compute_output
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.latency[bisect_left(_BOUNDS_NS, durations.request)] += 1
        spent = self.spent
        spent.request += durations.request
        spent.queue += durations.queue
        spent.compute_input += durations.compute_input
        spent.compute_infer += durations.compute_infer
        spent.compute_output += durations.compute_output

    def answered_alone(self, rows: int, request: int, decoding: int, running: int, encoding: int) -> None:
        """The same as ``executed`` and ``succeeded`` of a request that was a run of its own and did not wait, in half
        of the time."""
        batch = self.batches.get(rows)
        if batch is None:
            self.executed(rows, running)
            self.succeeded(Durations(request, 0, decoding, running, encoding), rows, rows)
            return
        self.executions += 1
        self.success += 1
        self.inferences += rows
        batch.count += 1
        batch.compute_infer += running
        batch.compute_input += decoding
        batch.compute_output += encoding
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.latency[bisect_left(_BOUNDS_NS, request)] += 1
        spent = self.spent
        spent.request += request
        spent.compute_input += decoding
        spent.compute_infer += running
        spent.compute_output += encoding

    def failed(self, reason: str, nanoseconds: int) -> None:
        self.failure[reason] += 1
        self.failed_ns += nanoseconds

    def statistics(self) -> dict[str, Any]:
        """One entry of Triton's ``model_stats``."""

        def count(nanoseconds: int, number: int) -> dict[str, int]:
            return {"count": number, "ns": nanoseconds}

        spent, good = self.spent, self.success
        return {
            "name": self.model,
            "version": self.version,
            "last_inference": self.last_inference_ms,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": count(spent.request, good),
                "fail": count(self.failed_ns, sum(self.failure.values())),
                "queue": count(spent.queue, good),
                "compute_input": count(spent.compute_input, good),
                "compute_infer": count(spent.compute_infer, good),
                "compute_output": count(spent.compute_output, good),
                "cache_hit": count(0, 0),
                "cache_miss": count(0, 0),
            },
            "response_stats": {},
            "batch_stats": [
                {
                    "batch_size": rows,
                    "compute_input": count(batch.compute_input, batch.count),
                    "compute_infer": count(batch.compute_infer, batch.count),
                    "compute_output": count(batch.compute_output, batch.count),
                }
                for rows, batch in sorted(self.batches.items())
            ],
            "memory_usage": [],
        }
