"""From a model directory to a model that is understood and whose golden cases are answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.canonical import content_key
from builder.convert.convert import SourceModel, answer_by_source, convert, source_model
from builder.convert.reference import answer_cases
from builder.formats import detect
from builder.formats.code import require_harmless
from builder.formats.onnx import OnnxLimits, read_model, stage_artifact
from builder.host import Host
from builder.model.cases import read_cases, require_portable
from builder.model.generate import Samples, generate_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.manifest import ModelManifest, read_manifest
from builder.model.parity import ParityReport, compare_cases, require_equal, require_golden, require_repeatable
from builder.model.renames import serve_signature, to_graph_names, to_served_names
from builder.model.signature import Signature
from builder.model.source import Detection, ModelArtifact, ModelSource, list_model
from builder.oci.digest import Digest
from builder.targets import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundModel:
    """What a directory holds. ``origin`` is the model of another framework, None where it is ONNX already."""

    source: ModelSource
    manifest: ModelManifest
    detection: Detection
    origin: SourceModel | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model that was read and checked; ``cases`` are asked, not yet answered; ``digest`` covers all that goes in."""

    format: str
    origin: SourceModel | None
    manifest: ModelManifest
    signature: Signature
    artifact: ModelArtifact
    cases: tuple[GoldenCase, ...]
    digest: Digest


def find_model(directory: Path, allow_code: bool = False) -> FoundModel:
    """List the directory, read model.yaml, and say which file is the model. Nothing of the model is executed; one that
    would execute something when it is loaded is refused (ModelRunsCode), unless ``allow_code``."""
    source = list_model(directory)
    manifest = read_manifest(source)
    detection = detect(source, manifest)
    if not allow_code:
        require_harmless(source, detection)
    origin = source_model(source, manifest, detection, allow_code)
    return FoundModel(source=source, manifest=manifest, detection=detection, origin=origin)


def load_model(found: FoundModel, target: Target, host: Host) -> LoadedModel:
    """Read the graph, converted where it must be, and the golden cases.

    Raises the errors of builder/model, builder/formats and builder/convert.
    """
    source, manifest, entry = found.source, found.manifest, found.detection.entry
    onnx = source
    if found.origin is not None:
        onnx, entry = list_model(convert(found.origin, host)), PurePosixPath("model.onnx")
    graph = read_model(onnx, entry, OnnxLimits(opset=target.opsets[1], ir=target.ir_version))
    signature = serve_signature(graph.signature, manifest)
    artifact = stage_artifact(onnx, graph)
    cases = read_cases(source, manifest, signature) or generate_cases(
        signature, manifest, _samples(onnx, manifest) if found.origin else {}
    )
    return LoadedModel(
        format=found.detection.format,
        origin=found.origin,
        manifest=manifest,
        signature=signature,
        artifact=artifact,
        cases=cases,
        digest=_digest(manifest, signature, artifact, cases),
    )


def _samples(onnx: ModelSource, manifest: ModelManifest) -> Samples:
    """What a converter wrote about values that the model knows, by the names that clients see."""
    path, served = PurePosixPath("samples.json"), dict(manifest.renames.inputs)
    found = json.loads(onnx.locate(path).read_bytes()) if onnx.find(path) else {}
    return {
        served.get(name, name): tuple(v.encode() if isinstance(v, str) else float(v) for v in values)
        for name, values in found.items()
    }


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
