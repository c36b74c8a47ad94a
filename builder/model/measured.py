"""What a build measured of an image, as the report that is attached to it tells (a build's result, result.schema.json).

It cannot be in the image: the image is what was measured. Reports come from anywhere, so nothing in one is relied on:
a figure that is not there, or is no number, is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REPORT_TYPE = "application/vnd.mbuild.report.v1+json"
"""Artifact type and media type of a report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredLatency:
    """Of requests one after the other, as a client sees them."""

    p50_ms: float
    p99_ms: float

    def to_json(self) -> dict[str, object]:
        return {"p50_ms": self.p50_ms, "p99_ms": self.p99_ms}


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredParity:
    """The largest differences of a model from its source over all golden cases; infinite where one side is."""

    name: str
    max_absolute: float
    max_relative: float

    def to_json(self) -> dict[str, object]:
        figures = {"max_absolute": self.max_absolute, "max_relative": self.max_relative}
        return {"name": self.name, **{key: one if math.isfinite(one) else "inf" for key, one in figures.items()}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """``start`` has the parts of ``ready_seconds`` (process, imports, sessions, warm_up); ``runner`` is what ran the
    image, ``emulator`` what stood in for its processor, ``memory_limit`` what enforced the limit; texts are empty and
    figures None where the report does not tell, or the image was not run."""

    ready_seconds: float | None = None
    start: Mapping[str, float] | None = None
    peak_memory_bytes: int | None = None
    latency_json: MeasuredLatency | None = None
    latency_binary: MeasuredLatency | None = None
    memory_limit: str = ""
    runner: str = ""
    emulator: str = ""
    provider: str = ""
    parity: tuple[MeasuredParity, ...] = ()

    def to_json(self) -> dict[str, object]:
        latency = {"json": self.latency_json, "binary": self.latency_binary}
        return {
            "ready_seconds": self.ready_seconds,
            "start": dict(self.start) if self.start else None,
            "peak_memory_bytes": self.peak_memory_bytes,
            "latency": {form: one.to_json() if one else None for form, one in latency.items()},
            "memory_limit": self.memory_limit,
            "runner": self.runner,
            "emulator": self.emulator,
            "provider": self.provider,
            "parity": [one.to_json() for one in self.parity],
        }

    @classmethod
    def from_report(cls, report: object, platform: str) -> Measured:
        """What the result of a build says of its image for ``platform``."""
        images = [one for one in _list(report, "platforms") if _object(one).get("platform") == platform]
        test = _object(_object(images[0]).get("test")) if images else {}
        peak = _number(test.get("peak_memory_bytes"))
        latency = _object(test.get("latency"))
        split = _object(test.get("start"))
        start = {key: value for key in _PARTS if (value := _number(split.get(key))) is not None}
        return cls(
            ready_seconds=_number(test.get("ready_seconds")),
            start=start or None,
            peak_memory_bytes=None if peak is None else int(peak),
            latency_json=_latency(latency.get("json")),
            latency_binary=_latency(latency.get("binary")),
            memory_limit=_text(test.get("memory_limit")),
            runner=_text(test.get("runner")),
            emulator=_text(test.get("emulator")),
            provider=_text(test.get("provider")),
            parity=tuple(_parities(report)),
        )


def _parities(report: object) -> Iterator[MeasuredParity]:
    for model in map(_object, _list(report, "models")):
        parity = _object(model.get("parity"))
        compared = parity.get("conversion") or parity.get("golden")
        tensors = [_object(tensor) for case in _list(compared, "cases") for tensor in _list(case, "tensors")]
        if tensors:
            absolute, relative = (max(_distance(one.get(key)) for one in tensors) for key in _DISTANCES)
            yield MeasuredParity(name=_text(model.get("name")), max_absolute=absolute, max_relative=relative)


_PARTS = ("process", "imports", "sessions", "warm_up")
_DISTANCES = ("max_absolute", "max_relative")


def _distance(value: object) -> float:
    """Infinite where it is not told, as the report writes what is infinite."""
    found = _number(value)
    return math.inf if found is None else found


def _latency(value: object) -> MeasuredLatency | None:
    p50, p99 = (_number(_object(value).get(key)) for key in ("p50_ms", "p99_ms"))
    return MeasuredLatency(p50_ms=p50, p99_ms=p99) if p50 is not None and p99 is not None else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object, key: str) -> list[Any]:
    found = _object(value).get(key)
    return found if isinstance(found, list) else []


def _number(value: object) -> float | None:
    """Finite and not negative: all that is measured is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < math.inf else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
