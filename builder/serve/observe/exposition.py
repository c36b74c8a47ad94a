"""Figures as Prometheus text (format 0.0.4), as every scraper reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Number = int | float


@dataclass(frozen=True, slots=True)
class Sample:
    """``suffix`` follows the family's name, as ``_bucket`` does; ``labels`` are text already."""

    value: Number
    labels: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Everything under one name; ``kind`` is counter, gauge or histogram."""

    name: str
    kind: str
    about: str
    samples: tuple[Sample, ...]


def counter(name: str, about: str, value: Number) -> Family:
    return Family(name, "counter", about, (Sample(value),))


def gauge(name: str, about: str, value: Number) -> Family:
    return Family(name, "gauge", about, (Sample(value),))


def counted(name: str, about: str, label: str, counts: Mapping[str, int]) -> Family:
    """One counter for each value of a label."""
    return Family(name, "counter", about, tuple(Sample(n, labelled({label: each})) for each, n in counts.items()))


def histogram(bounds: Iterable[float], counts: Iterable[int], total: Number, labels: str) -> tuple[Sample, ...]:
    """The samples of one histogram; ``counts`` are of each bucket alone, the last one without an upper bound."""
    samples, below = [], 0
    for bound, count in zip([*(f"{each:g}" for each in bounds), "+Inf"], counts, strict=True):
        below += count
        samples.append(Sample(below, ",".join(filter(None, (labels, f'le="{bound}"'))), "_bucket"))
    return (*samples, Sample(total, labels, "_sum"), Sample(below, labels, "_count"))


def labelled(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def text(families: Iterable[Family]) -> str:
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {family.kind}"]
        for sample in family.samples:
            labels = f"{{{sample.labels}}}" if sample.labels else ""
            lines.append(f"{family.name}{sample.suffix}{labels} {sample.value}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
