"""The verify step: every golden case answered by the source model, the ONNX held against the answers."""

from __future__ import annotations

from dataclasses import replace

from builder.convert.convert import answer_by_source
from builder.convert.reference import answer_cases
from builder.host import Host
from builder.model.cases import require_portable
from builder.model.golden import GoldenCase
from builder.model.parity import ParityReport, compare_cases, require_equal, require_golden, require_repeatable
from builder.model.renames import to_graph_names, to_served_names
from builder.pipeline.model import LoadedModel


def answer(model: LoadedModel, host: Host) -> tuple[tuple[GoldenCase, ...], ParityReport]:
    """Run the golden cases through the source model: its own framework, or onnxruntime where it is ONNX.

    What a conversion made must compute the same (ConversionDiffers). Outputs that the user gave stay, and must agree
    (GoldenMismatch); the others are filled in. The first case is asked twice, to find a model that no image of it could
    agree with (NotRepeatable). Raises ConversionError where the model does not run, and OversizedCase.
    """
    renames, tolerance = model.manifest.renames, model.manifest.tolerance
    asked = tuple(to_graph_names(case, renames) for case in (*model.cases, *model.cases[:1]))
    *reference, again = (to_served_names(case, renames) for case in answer_cases(model.artifact, asked, host))
    require_repeatable(compare_cases(reference[:1], (again,), tolerance))
    if model.origin is not None:
        own = [to_served_names(case, renames) for case in answer_by_source(model.origin, asked[:-1], host)]
        require_equal(compare_cases(own, reference, tolerance), model.origin.converter.framework)
        reference = own
    report = compare_cases(model.cases, reference, tolerance)
    require_golden(report)
    answers = {case.name: case.outputs for case in reference}
    filled = tuple(replace(case, outputs={**answers[case.name], **case.outputs}) for case in model.cases)
    require_portable(filled)
    return filled, report
