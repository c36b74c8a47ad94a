"""The verify step: every golden case answered by the source model, the ONNX held against the answers, and the same for
the plain model around it, on the whole path."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from builder.canonical import canonical_json, content_key
from builder.convert.answers import Answers, Questions
from builder.convert.convert import answer_by_source
from builder.convert.plain_reference import PlainSource, answer_plain_cases
from builder.convert.reference import REFERENCE, answer_questions
from builder.host import Host
from builder.model.cases import require_portable
from builder.model.golden import GoldenCase
from builder.model.parity import (
    ConversionDiffers,
    ConversionDiffersAt,
    ParityReport,
    compare_cases,
    require_equal,
    require_golden,
    require_repeatable,
)
from builder.model.parity_report import Edge, EdgeReport, Verification, compare_edge
from builder.model.renames import to_graph_names, to_served_names
from builder.pipeline.bisect import located
from builder.pipeline.model import LoadedModel
from builder.pipeline.plain import PlainModel
from builder.targets.steps import close_requirements

Cases = tuple[GoldenCase, ...]


def answer(model: LoadedModel, host: Host) -> tuple[Cases, Verification]:
    """Run the golden cases through the source model: its own framework, or onnxruntime where it is ONNX.

    What a conversion made must compute the same, also at the edges that the source answers (ConversionDiffers).
    Outputs that the user gave stay, and must agree (GoldenMismatch); the others are filled in. The first case is asked
    twice, to find a model that no image of it could agree with (NotRepeatable). Raises ConversionError where the model
    does not run, and OversizedCase.
    """
    renames = model.manifest.renames
    cases, edges = (tuple(to_graph_names(case, renames) for case in side) for side in (model.cases, model.edges))
    twice = Questions(cases=(*cases, *cases[:1]), optional=edges)
    reference = _served(model, answer_questions(model.artifact, twice, host))
    own = None
    if model.origin is not None:
        own = _served(model, answer_by_source(model.origin, Questions(cases=cases, optional=edges), host))
    try:
        agreed = _agreed(model, model.cases, reference, own)
        edges_found = _edges(model, own, reference) if own else ()
    except ConversionDiffers as error:
        if model.origin is None or not model.origin.options.bisect:
            raise
        case = next(case for case in (*cases, *edges) if case.name == error.facts["case"])
        where = located(model.origin, model.artifact, case, host)
        raise ConversionDiffersAt(**error.facts, complaint=error, advice=error.advice, where=where) from error
    verification = Verification(
        framework=model.origin.converter.framework if model.origin else "",
        runtime=reference.versions.get("onnxruntime", ""),
        tolerance=model.manifest.tolerance,
        golden=agreed.golden,
        conversion=agreed.conversion,
        edges=edges_found,
        versions=own.versions if own else {},
        guard=own.guard if own else "",
    )
    if host.store.record("parity", model.digest.hex) != (report := verification.to_json()):
        host.store.put_record("parity", model.digest.hex, report)
    return agreed.cases, verification


def answer_plain(model: LoadedModel, host: Host) -> tuple[Cases, ParityReport]:
    """The same for the plain model: its steps around onnxruntime, and where a converter made all of it, the source
    framework's own tokenizer or image processor and model. Nothing where there is none."""
    plain = model.plain
    if plain is None:
        return (), ParityReport(cases=())
    reference = Answers(cases=run_plain(model, (*plain.cases, *plain.cases[:1]), host))
    own = None
    if model.origin is not None and plain.is_converted:
        own = answer_by_source(model.origin, Questions(cases=plain.cases, interface="plain"), host)
    agreed = _agreed(model, plain.cases, reference, own)
    return agreed.cases, agreed.golden


def _served(model: LoadedModel, answers: Answers) -> Answers:
    """With the names that clients see."""
    return replace(answers, cases=tuple(to_served_names(case, model.manifest.renames) for case in answers.cases))


def run_plain(model: LoadedModel, cases: Cases, host: Host) -> Cases:
    """The cases as the plain model's steps around onnxruntime answer them."""
    plain = model.plain
    if plain is None:
        return ()
    source = PlainSource(
        artifact=model.artifact, interface=plain.interface, files=plain.files, pins=_reference_pins(plain, host)
    )
    return answer_plain_cases(source, cases, host)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Agreed:
    """The cases with the answers of the source, and the comparisons with those that the user gave and with the ONNX."""

    cases: Cases
    golden: ParityReport
    conversion: ParityReport | None


def _agreed(model: LoadedModel, cases: Cases, reference: Answers, own: Answers | None) -> _Agreed:
    """``reference`` has the answers to ``cases``, then once more to the first, and then to edges."""
    tolerance, count, conversion = model.manifest.tolerance, len(cases), None
    right, again = reference.cases[:count], reference.cases[count]
    require_repeatable(compare_cases(right[:1], (again,), tolerance))
    if own is not None and model.origin is not None:
        conversion = compare_cases(own.cases[:count], right, tolerance)
        require_equal(conversion, model.origin.converter.framework)
        right = own.cases[:count]
    golden = compare_cases(cases, right, tolerance)
    require_golden(golden)
    outputs = {case.name: case.outputs for case in right}
    filled = tuple(replace(case, outputs={**outputs[case.name], **case.outputs}) for case in cases)
    require_portable(filled)
    return _Agreed(cases=filled, golden=golden, conversion=conversion)


def _edges(model: LoadedModel, own: Answers, reference: Answers) -> tuple[EdgeReport, ...]:
    assert model.origin is not None, "only a converted model has edges"
    sources, graphs = ({case.name: case for case in answers.cases} for answers in (own, reference))
    reports = []
    for name in (case.name for case in model.edges):
        reason = own.unanswered.get(name) or reference.unanswered.get(name, "")
        edge = Edge(name=name, source=sources.get(name), onnx=graphs.get(name), reason=reason)
        reports.append(compare_edge(edge, model.manifest.tolerance, model.origin.converter.framework))
    return tuple(reports)


def _reference_pins(plain: PlainModel, host: Host) -> tuple[str, ...]:
    """The steps' pins, and the handler's requirements as they fit this machine's Python; found out once."""
    fixed = (*REFERENCE.requirements, *plain.pins)

    def make(directory: Path) -> None:
        pins = close_requirements(plain.requirements, fixed, (), host)
        (directory / "pins.json").write_bytes(canonical_json(list(pins)))

    key = content_key({"requirements": list(plain.requirements), "fixed": list(fixed), "python": sys.version})
    closed = json.loads((host.store.directory("closures", key, make) / "pins.json").read_bytes())
    return (*plain.pins, *closed)
