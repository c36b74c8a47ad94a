"""Smaller and faster, by proof: what may be asked for, when a quantised model still is the model, and which to take.

Pure. An output of a quantised model is held against the same output of the model as it was, over all golden cases:
``error`` is the norm of the difference by the norm of what was expected (of all finite elements of all cases as one
vector; error e means a cosine of at least sqrt(1 - e * e)), ``agreement`` the share of equal elements of an output that
is no float (of texts that are JSON without their fractions, which are scores), or of rows with the same largest column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from builder.model.bounds import Bounds, Quantize
from builder.model.golden import Array, GoldenCase, Tolerance
from builder.model.manifest import Tolerances
from builder.model.parity import compare

MODES = (Quantize.FP16, Quantize.INT8_DYNAMIC, Quantize.INT8_STATIC, Quantize.INT4)
FASTER = 1.1
"""How many times as fast a variant must be to be taken for it: timings of one machine differ by a tenth themselves."""


_SHARES: Mapping[Quantize, float] = {
    Quantize.FP16: 2**-6,
    Quantize.INT8_DYNAMIC: 2**-3,
    Quantize.INT8_STATIC: 2**-3,
    Quantize.INT4: 2**-6,
}
"""How far answers may differ between processors, by the largest element of an output: one last bit turns the rounding
of an activation to 8 bits, and processors without VNNI saturate sums."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputError:
    """How far one output is off, over all cases. ``top1`` is None where an output has no rows to choose in."""

    name: str
    is_float: bool
    error: float
    agreement: float | None
    cosine: float | None
    max_absolute: float
    mismatch: str = ""

    def problem(self, bounds: Bounds, asked: Bounds) -> str:
        """What does not hold, in words; empty where all does. The agreement of rows counts where it was asked for: the
        largest number of an embedding is no decision."""
        if self.mismatch:
            return self.mismatch
        counts = not self.is_float or asked.agreement is not None
        checks = (
            ("error", self.error if self.is_float else None, bounds.error, 1),
            ("agreement", self.agreement if counts else None, bounds.agreement, -1),
            ("cosine", self.cosine, bounds.cosine, -1),
            ("largest difference", self.max_absolute if self.is_float else None, bounds.absolute, 1),
        )
        return ", ".join(
            f"{name} {value:.4g} ({'at most' if sign > 0 else 'at least'} {bound:g})"
            for name, value, bound, sign in checks
            if value is not None and bound is not None and not sign * value <= sign * bound
        )

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "error": _finite(self.error),
            "agreement": self.agreement,
            "cosine": self.cosine,
            "max_absolute": _finite(self.max_absolute),
        }


_ANY_SCORE = Tolerance(absolute=math.inf)


def measure_errors(expected: Sequence[GoldenCase], actual: Sequence[GoldenCase]) -> tuple[OutputError, ...]:
    """The errors of every output of the same cases, answered by the model as it was and by the quantised one."""
    pairs: dict[str, list[tuple[Array, Array]]] = {}
    for one, other in zip(expected, actual, strict=True):
        for name, array in one.outputs.items():
            pairs.setdefault(name, []).append((np.asarray(array), np.asarray(other.outputs[name])))
    return tuple(_error(name, arrays) for name, arrays in pairs.items())


def _error(name: str, pairs: list[tuple[Array, Array]]) -> OutputError:
    is_float = pairs[0][0].dtype.kind == "f"
    tolerance = Tolerance() if is_float else _ANY_SCORE
    compared = [(compare(name, one, other, tolerance), one) for one, other in pairs]
    mismatch = next((found.mismatch for found, _ in compared if found.mismatch), "")
    if is_float:
        rows = [(found.top1, one.shape[0]) for found, one in compared if found.top1 is not None]
    else:
        rows = [(1 - found.failing / max(found.elements, 1), found.elements) for found, _ in compared]
    total = sum(count for _, count in rows)
    return OutputError(
        name=name,
        is_float=is_float,
        error=_relative(pairs) if is_float and not mismatch else 0.0,
        agreement=sum(share * count for share, count in rows) / total if total else None,
        cosine=min((found.cosine for found, _ in compared if found.cosine is not None), default=None),
        max_absolute=max((found.max_absolute for found, _ in compared), default=0.0),
        mismatch=mismatch,
    )


def _relative(pairs: list[tuple[Array, Array]]) -> float:
    wide = np.concatenate([one.astype(np.float64).ravel() for one, _ in pairs])
    other = np.concatenate([two.astype(np.float64).ravel() for _, two in pairs])
    usual = np.isfinite(wide)
    if not np.array_equal(wide[~usual], other[~usual], equal_nan=True) or not np.isfinite(other[usual]).all():
        return math.inf
    distance, size = np.linalg.norm(other[usual] - wide[usual]), np.linalg.norm(wide[usual])
    if not size:
        return 0.0 if not distance else math.inf
    return float(distance / size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One line of the table. ``size`` in bytes; ``seconds`` of a pass over the golden cases on this machine, None where
    it was not measured; ``problem`` is why it is not taken."""

    name: str
    size: int = 0
    seconds: float | None = None
    errors: tuple[OutputError, ...] = ()
    metric: float | None = None
    problem: str = ""

    @property
    def worst(self) -> OutputError | None:
        return max(self.errors, key=lambda one: (bool(one.mismatch), one.error), default=None)

    def to_json(self) -> dict[str, object]:
        return {
            "variant": self.name,
            "size": self.size,
            "seconds": self.seconds,
            "outputs": [one.to_json() for one in self.errors],
            "metric": self.metric,
            "problem": self.problem,
        }


def choose(variants: Sequence[Variant]) -> str:
    """The fastest of those without a problem, the first being the model as it was: it stays, unless another is FASTER
    times as fast. Equal times: the smaller one."""
    first = variants[0]
    held = [one for one in variants[1:] if not one.problem and one.seconds is not None]
    best = min(held, key=lambda one: (one.seconds or 0.0, one.size), default=first)
    if first.seconds is None or best.seconds is None or best.seconds * FASTER > first.seconds:
        return first.name
    return best.name


def replay_tolerances(mode: Quantize, cases: Sequence[GoldenCase], stated: Tolerances) -> Tolerances:
    """How exactly an image must give the quantised model's own answers again, on whatever processor it runs: a share of
    the largest element of each output, as a power of two so that the last bits of an answer do not change it."""
    largest: dict[str, float] = {}
    for case in cases:
        for name, array in case.outputs.items():
            kind = np.asarray(array).dtype.kind
            if kind in "SUO":
                largest[name] = 1.0  # a score, in a text that is JSON
            elif kind == "f":
                sizes = np.abs(np.asarray(array, np.float64))
                found = float(sizes[np.isfinite(sizes)].max(initial=0.0))
                largest[name] = max(largest.get(name, 0.0), found)
    outputs = []
    for name, size in largest.items():
        share = 2.0 ** math.ceil(math.log2(size)) * _SHARES[mode] if size else 0.0
        own = stated.of(name)
        outputs.append((name, Tolerance(absolute=max(own.absolute, share), relative=own.relative)))
    return replace(stated, outputs=tuple(sorted({**dict(stated.outputs), **dict(outputs)}.items())))


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"
