"""What the gate found out about a model: which cases and edges agree, how closely, and who computed.

Two forms: ``to_json`` with every figure, for the result of a build; ``verdict`` for the image, which must have the same
bytes on every machine, and so has what was asked, within which tolerance, by which versions, but no figure that the
last bit of a processor's sums decides (docs/adr/0010). Its schema is builder/schemas/parity.schema.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from builder.errors import ParityError
from builder.model.edges import PREFIX
from builder.model.golden import Array, GoldenCase, Tolerance
from builder.model.manifest import Tolerances
from builder.model.parity import CaseReport, ConversionDiffers, ParityReport, TensorComparison, compare

SCHEMA = 1
_UNDEFINED = ("missing", "infinite")
"""Edges whose inputs themselves are no numbers."""


class EdgeDiffers(ConversionDiffers):
    code = "edge-differs"
    message = "the ONNX model does not compute what {framework} computes where {edge}: output {tensor!r}: {difference}"
    hint = (
        "does the model never meet such inputs? Then say in model.yaml which edges it has to hold: "
        "`golden: {{edges: [{others}]}}`; or set `tolerance`"
    )


_MEANING = {
    "longest": "the sequence is as long as it may be",
    "zeros": "all numbers are zero",
    "extremes": "numbers are large",
    "missing": "numbers are missing (NaN)",
    "infinite": "numbers are infinite",
    "empty": "all text is empty",
    "unknown": "text is unknown to it",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeReport:
    """An edge: what was compared, or why nothing could be (``reason``: the source does not answer it)."""

    name: str
    tensors: tuple[TensorComparison, ...] = ()
    reason: str = ""

    @property
    def outcome(self) -> str:
        return "not-answered-by-the-source" if self.reason else "equal"

    def to_json(self) -> dict[str, object]:
        tensors = [tensor.to_json() for tensor in self.tensors]
        return {"name": self.name, "outcome": self.outcome, "reason": self.reason, "tensors": tensors}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """``framework`` is empty where the source is ONNX itself, and then there is no ``conversion``; ``golden`` compares
    outputs that the user gave. ``versions`` are those of the framework's environment, ``guard`` what it ran in."""

    framework: str
    runtime: str
    tolerance: Tolerances
    golden: ParityReport
    conversion: ParityReport | None = None
    edges: tuple[EdgeReport, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    guard: str = ""

    @property
    def cases(self) -> tuple[CaseReport, ...]:
        """The golden cases, each in agreement."""
        return self.golden.cases

    @property
    def agreeing_edges(self) -> int:
        """How many edges the source answers; the ONNX answers them equally, or there were no report."""
        return sum(not edge.reason for edge in self.edges)

    @property
    def frameworks(self) -> dict[str, str]:
        """Versions of what answered. Not Python's: it is the machine's, and does not decide what they compute."""
        return {name: version for name, version in sorted(self.versions.items()) if name != "python"}

    def to_json(self) -> dict[str, object]:
        return {
            **self.verdict(),
            "versions": dict(sorted(self.versions.items())),
            "guard": self.guard,
            "conversion": self.conversion.to_json() if self.conversion else None,
            "golden": self.golden.to_json(),
            "edges": [edge.to_json() for edge in self.edges],
        }

    def verdict(self) -> dict[str, object]:
        """The form for the image."""
        return {
            "schema": SCHEMA,
            "passed": True,  # nothing else reaches an image
            "source": self.framework or "ONNX",
            "versions": self.frameworks,
            "runtime": self.runtime,
            "tolerance": self.tolerance.to_json(),
            "cases": [
                {"name": case.name, "given": bool(case.origin), "outputs": [tensor.name for tensor in case.tensors]}
                for case in (self.conversion or self.golden).cases
            ],
            "edges": [{"name": edge.name, "outcome": edge.outcome} for edge in self.edges],
        }


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An edge as the source answers it (None: it does not, for ``reason``) and as the ONNX does."""

    name: str
    source: GoldenCase | None
    onnx: GoldenCase | None
    reason: str = ""


def compare_edge(edge: Edge, tolerances: Tolerances, framework: str) -> EdgeReport:
    """Hold what the source answers against the ONNX. Raises EdgeDiffers.

    Sums of large numbers cancel, so an element may be off by the tolerance of the largest in its tensor. Where the
    source has no finite number nothing is compared, nor a label that it drew from one."""
    if edge.source is None:
        return EdgeReport(name=edge.name, reason=edge.reason)
    expected = {name: array for name, array in edge.source.outputs.items() if _is_defined(name, edge)}
    if not expected:
        return EdgeReport(name=edge.name, reason="its answer is not finite")
    if edge.onnx is None:
        raise _differs(edge, framework, next(iter(expected)), f"onnxruntime does not answer: {edge.reason}")
    comparisons = []
    for name, array in expected.items():
        comparison = _compare(name, array, edge.onnx.outputs[name], tolerances.of(name))
        if not comparison.passed:
            raise _differs(edge, framework, name, comparison.difference)
        comparisons.append(comparison)
    return EdgeReport(name=edge.name, tensors=tuple(comparisons))


def _compare(name: str, expected: Array, actual: Array, tolerance: Tolerance) -> TensorComparison:
    if expected.dtype.kind != "f" or expected.shape != actual.shape:
        return compare(name, expected, actual, tolerance)
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite]).max(initial=0.0))
    wide = Tolerance(absolute=tolerance.absolute + tolerance.relative * largest, relative=tolerance.relative)
    return compare(name, expected, np.where(finite, actual, expected), wide)


def _is_defined(name: str, edge: Edge) -> bool:
    assert edge.source is not None
    outputs = edge.source.outputs
    if outputs[name].dtype.kind == "f":
        return bool(np.isfinite(outputs[name]).any())
    floats = [array for array in outputs.values() if array.dtype.kind == "f"]
    is_number = edge.name.removeprefix(PREFIX) not in _UNDEFINED
    return all(np.isfinite(array).all() for array in floats) and (bool(floats) or is_number)


def _differs(edge: Edge, framework: str, tensor: str, difference: str) -> ParityError:
    kind = edge.name.removeprefix(PREFIX)
    kind = "batches" if kind.startswith("batch-") else kind
    meaning = _MEANING.get(kind, f"there are other batches ({edge.name.removeprefix(PREFIX)})")
    others = ", ".join(word for word in ("batches", *_MEANING) if word != kind)
    return EdgeDiffers(
        framework=framework, edge=meaning, case=edge.name, tensor=tensor, difference=difference, others=others
    )
