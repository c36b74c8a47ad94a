"""What several processes tell of themselves, as one: figures for /metrics and Triton's statistics of models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..observe.exposition import Family, Number, Sample

_LARGEST = ("mbuild_queue_oldest_seconds",)
_SMALLEST = ("mbuild_ready", "mbuild_gpu_serves", "process_start_time_seconds")
_OF_THE_MACHINE = ("nv_cpu_", "nv_gpu_", "mbuild_container_", "process_max_fds")


@dataclass(frozen=True, slots=True)
class Told:
    """``facts`` are those of the line in the log that says ready."""

    families: list[Family]
    statistics: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        families = [
            [each.name, each.kind, each.about, [[one.value, one.labels, one.suffix] for one in each.samples]]
            for each in self.families
        ]
        return json.dumps([families, self.statistics, self.facts], default=str).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Told:
        families, statistics, facts = json.loads(content)
        read = [
            Family(name, kind, about, tuple(Sample(*one) for one in samples)) for name, kind, about, samples in families
        ]
        return cls(read, statistics, facts)


def together(told: Sequence[Told]) -> Told:
    """The first is the one that answers: it speaks for the machine that all are on."""
    families = _families([family for each in told for family in each.families])
    return Told(families, _statistics([model for each in told for model in each.statistics]))


def _families(every: Iterable[Family]) -> list[Family]:
    found: dict[str, tuple[Family, dict[tuple[str, str], Number]]] = {}
    for family in every:
        _, values = found.setdefault(family.name, (family, {}))
        join = _joined(family.name)
        for sample in family.samples:
            at = (sample.labels, sample.suffix)
            values[at] = join(values[at], sample.value) if at in values else sample.value
    return [
        Family(first.name, first.kind, first.about, tuple(Sample(value, *at) for at, value in values.items()))
        for first, values in found.values()
    ]


def _joined(name: str) -> Callable[[Number, Number], Number]:
    if name.startswith(_OF_THE_MACHINE):
        return lambda one, _: one
    if name in _LARGEST:
        return max
    if name in _SMALLEST:
        return min
    return lambda one, other: one + other


def _statistics(every: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for model in every:
        at = (model["name"], model["version"])
        found[at] = _sum(found[at], model) if at in found else model
    return list(found.values())


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    summed: dict[str, Any] = {}
    for name, value in one.items():
        if name == "last_inference":
            summed[name] = max(value, other[name])
        elif name == "batch_stats":
            summed[name] = _batches([*value, *other[name]])
        elif isinstance(value, dict):
            summed[name] = _sum(value, other[name])
        else:
            summed[name] = value + other[name] if isinstance(value, int) else value
    return summed


def _batches(every: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for batch in every:
        rows = batch["batch_size"]
        found[rows] = {**_sum(found[rows], batch), "batch_size": rows} if rows in found else batch
    return [found[rows] for rows in sorted(found)]
