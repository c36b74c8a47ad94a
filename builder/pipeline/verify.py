"""The verify step: every golden case answered by the source model, the ONNX held against the answers, and the same for
the plain model around it, on the whole path."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.canonical import canonical_json, content_key
from builder.convert.convert import answer_by_source
from builder.convert.plain_reference import PlainSource, answer_plain_cases
from builder.convert.reference import REFERENCE, answer_cases
from builder.host import Host
from builder.model.cases import require_portable
from builder.model.golden import GoldenCase
from builder.model.manifest import Tolerances
from builder.model.parity import ParityReport, compare_cases, require_equal, require_golden, require_repeatable
from builder.model.renames import to_graph_names, to_served_names
from builder.pipeline.model import LoadedModel
from builder.pipeline.plain import PlainModel
from builder.targets.steps import close_requirements

Cases = tuple[GoldenCase, ...]


def answer(model: LoadedModel, host: Host) -> tuple[Cases, ParityReport]:
    """Run the golden cases through the source model: its own framework, or onnxruntime where it is ONNX.

    What a conversion made must compute the same (ConversionDiffers). Outputs that the user gave stay, and must agree
    (GoldenMismatch); the others are filled in. The first case is asked twice, to find a model that no image of it could
    agree with (NotRepeatable). Raises ConversionError where the model does not run, and OversizedCase.
    """
    renames = model.manifest.renames
    asked = tuple(to_graph_names(case, renames) for case in (*model.cases, *model.cases[:1]))
    *reference, again = (to_served_names(case, renames) for case in answer_cases(model.artifact, asked, host))
    own = None
    if model.origin is not None:
        own = [to_served_names(case, renames) for case in answer_by_source(model.origin, asked[:-1], host)]
    return _agreed(model, model.cases, _Answers(reference=reference, again=again, own=own))


def answer_plain(model: LoadedModel, host: Host) -> tuple[Cases, ParityReport]:
    """The same for the plain model: its steps around onnxruntime, and where a converter made all of it, the source
    framework's own tokenizer or image processor and model. Nothing where there is none."""
    plain = model.plain
    if plain is None:
        return (), ParityReport(cases=())
    source = PlainSource(
        artifact=model.artifact, interface=plain.interface, files=plain.files, pins=_reference_pins(plain, host)
    )
    *reference, again = answer_plain_cases(source, (*plain.cases, *plain.cases[:1]), host)
    own = None
    if model.origin is not None and plain.is_converted:
        own = list(answer_by_source(model.origin, plain.cases, host, "plain"))
    return _agreed(model, plain.cases, _Answers(reference=reference, again=again, own=own))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answers:
    """Of onnxruntime, of its second run of the first case, and of the source framework where there is one."""

    reference: Sequence[GoldenCase]
    again: GoldenCase
    own: Sequence[GoldenCase] | None


def _agreed(model: LoadedModel, cases: Cases, answers: _Answers) -> tuple[Cases, ParityReport]:
    tolerance: Tolerances = model.manifest.tolerance
    require_repeatable(compare_cases(answers.reference[:1], (answers.again,), tolerance))
    if answers.own is not None and model.origin is not None:
        require_equal(compare_cases(answers.own, answers.reference, tolerance), model.origin.converter.framework)
    right = answers.reference if answers.own is None else answers.own
    report = compare_cases(cases, right, tolerance)
    require_golden(report)
    outputs = {case.name: case.outputs for case in right}
    filled = tuple(replace(case, outputs={**outputs[case.name], **case.outputs}) for case in cases)
    require_portable(filled)
    return filled, report


def _reference_pins(plain: PlainModel, host: Host) -> tuple[str, ...]:
    """The steps' pins, and the handler's requirements as they fit this machine's Python; found out once."""
    fixed = (*REFERENCE.requirements, *plain.pins)

    def make(directory: Path) -> None:
        pins = close_requirements(plain.requirements, fixed, (), host)
        (directory / "pins.json").write_bytes(canonical_json(list(pins)))

    key = content_key({"requirements": list(plain.requirements), "fixed": list(fixed), "python": sys.version})
    closed = json.loads((host.store.directory("closures", key, make) / "pins.json").read_bytes())
    return (*plain.pins, *closed)
