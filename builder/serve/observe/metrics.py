"""Counters of the server under Triton's names, as Prometheus text and as Triton's statistics document.

Written on the event loop only, so plain integers do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
_LISTED_ROWS = 128
_STARTED = time.time()


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
        spent = self.spent
        spent.request += durations.request
        spent.queue += durations.queue
        spent.compute_input += durations.compute_input
        spent.compute_infer += durations.compute_infer
        spent.compute_output += durations.compute_output

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


def exposition(models: Iterable[ModelMetrics], ready: bool, connections: int) -> str:
    """Prometheus text format 0.0.4."""
    every = list(models)
    lines: list[str] = []
    for name, kind, about, samples in _families(every):
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *(f"{name}{{{at}}} {n}" for at, n in samples)]
    for name, kind, about, number in (
        ("mbuild_ready", "gauge", "1 when the server answers ready", int(ready)),
        ("mbuild_connections", "gauge", "Open client connections", connections),
        *_process(),
    ):
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {number}"]
    return "\n".join(lines) + "\n"


def _families(models: list[ModelMetrics]) -> Iterator[tuple[str, str, str, list[tuple[str, int]]]]:
    labels = {id(model): f'model="{_escaped(model.model)}",version="{model.version}"' for model in models}

    def samples(attribute: str) -> list[tuple[str, int]]:
        return [(labels[id(model)], getattr(model, attribute)) for model in models]

    yield (
        "nv_inference_request_success",
        "counter",
        "Number of successful inference requests, all batch sizes",
        samples("success"),
    )
    failures = [
        (f'{labels[id(model)]},reason="{reason}"', number)
        for model in models
        for reason, number in model.failure.items()
    ]
    yield "nv_inference_request_failure", "counter", "Number of failed inference requests, all batch sizes", failures
    yield "nv_inference_count", "counter", "Number of inferences performed", samples("inferences")
    yield "nv_inference_exec_count", "counter", "Number of model executions performed", samples("executions")
    yield "nv_inference_pending_request_count", "gauge", "Requests accepted and not yet answered", samples("pending")
    for name in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
        spent = [(labels[id(model)], getattr(model.spent, name) // 1000) for model in models]
        about = f"Cumulative {name.replace('_', ' ')} duration in microseconds"
        yield f"nv_inference_{name}_duration_us", "counter", about, spent


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _process() -> Iterator[tuple[str, str, str, float]]:
    times = os.times()
    yield (
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time in seconds",
        round(times.user + times.system, 2),
    )
    yield "process_start_time_seconds", "gauge", "Start time since the epoch in seconds", round(_STARTED, 3)
    try:
        size, resident = Path("/proc/self/statm").read_text().split()[:2]
        page = os.sysconf("SC_PAGE_SIZE")
        yield "process_virtual_memory_bytes", "gauge", "Virtual memory in bytes", int(size) * page
        yield "process_resident_memory_bytes", "gauge", "Resident memory in bytes", int(resident) * page
        yield "process_open_fds", "gauge", "Open file descriptors", sum(1 for _ in Path("/proc/self/fd").iterdir())
    except (OSError, ValueError):
        return  # no /proc: the figures are left out
