"""From a model directory to a model that is understood and whose golden cases are answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from builder.canonical import content_key
from builder.convert.reference import answer_cases
from builder.formats import detect
from builder.formats.onnx import OnnxLimits, read_model, stage_artifact
from builder.host import Host
from builder.model.cases import read_cases, require_portable
from builder.model.generate import generate_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.manifest import ModelManifest, read_manifest
from builder.model.parity import ParityReport, compare_cases, require_golden, require_repeatable
from builder.model.renames import serve_signature, to_graph_names, to_served_names
from builder.model.signature import Signature
from builder.model.source import ModelArtifact, list_model
from builder.oci.digest import Digest
from builder.targets import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model that was read and checked; ``cases`` are asked, not yet answered; ``digest`` covers all that goes in."""

    manifest: ModelManifest
    signature: Signature
    artifact: ModelArtifact
    cases: tuple[GoldenCase, ...]
    digest: Digest


def load_model(directory: Path, target: Target) -> LoadedModel:
    """Read the directory, model.yaml, the graph and the golden cases. Reads only; nothing of the model is executed.

    Raises the errors of builder/model and builder/formats.
    """
    source = list_model(directory)
    manifest = read_manifest(source)
    found = detect(source, manifest)
    graph = read_model(source, found.entry, OnnxLimits(opset=target.opsets[1], ir=target.ir_version))
    signature = serve_signature(graph.signature, manifest)
    artifact = stage_artifact(source, graph)
    cases = read_cases(source, manifest, signature) or generate_cases(signature, manifest)
    return LoadedModel(
        manifest=manifest,
        signature=signature,
        artifact=artifact,
        cases=cases,
        digest=_digest(manifest, signature, artifact, cases),
    )


def answer(model: LoadedModel, host: Host) -> tuple[tuple[GoldenCase, ...], ParityReport]:
    """Run the golden cases through onnxruntime on the source model.

    Outputs that the user gave stay, and must agree (GoldenMismatch); the others are filled in. The first case is asked
    twice, to find a model that no image of it could agree with (NotRepeatable). Raises ConversionError where the model
    does not run, and OversizedCase.
    """
    renames = model.manifest.renames
    asked = tuple(to_graph_names(case, renames) for case in (*model.cases, *model.cases[:1]))
    *reference, again = (to_served_names(case, renames) for case in answer_cases(model.artifact, asked, host))
    require_repeatable(compare_cases(reference[:1], (again,), model.manifest.tolerance))
    report = compare_cases(model.cases, reference, model.manifest.tolerance)
    require_golden(report)
    answers = {case.name: case.outputs for case in reference}
    filled = tuple(replace(case, outputs={**answers[case.name], **case.outputs}) for case in model.cases)
    require_portable(filled)
    return filled, report


def _digest(
    manifest: ModelManifest, signature: Signature, artifact: ModelArtifact, cases: tuple[GoldenCase, ...]
) -> Digest:
    """Of everything about the model that reaches the image."""
    described = {
        "name": manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "licence": manifest.licence,
        "labels": dict(manifest.labels),
        "tolerance": manifest.tolerance.to_json(),
        "server": manifest.server.to_json(),
        "signature": signature.to_json(),
        "files": {str(path): str(digest) for path, _, digest in artifact.files},
        "cases": {case.name: str(Digest.of(write_case(case))) for case in cases},
    }
    return Digest.from_hex(content_key(described))
