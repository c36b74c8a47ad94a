"""From a model directory to a model that is understood, with the golden cases that it will be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.canonical import content_key
from builder.convert.convert import SourceModel, source_model
from builder.formats import detect
from builder.formats.code import require_harmless
from builder.formats.onnx import OnnxLimits, read_model, stage_artifact
from builder.host import Host
from builder.model.cases import read_cases
from builder.model.generate import generate_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.manifest import ModelManifest, read_manifest
from builder.model.renames import serve_signature
from builder.model.signature import Signature
from builder.model.source import Detection, ModelArtifact, ModelSource, list_model
from builder.oci.digest import Digest
from builder.pipeline.converted import onnx_of
from builder.plan.spec import NO_OPTIONS, ConvertOptions
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


def find_model(directory: Path, options: ConvertOptions = NO_OPTIONS) -> FoundModel:
    """List the directory, read model.yaml, and say which file is the model. Nothing of the model is executed; one that
    would execute something when it is loaded is refused (ModelRunsCode), unless ``options.allow_code``."""
    source = list_model(directory)
    manifest = read_manifest(source)
    detection = detect(source, manifest)
    if not options.allow_code:
        require_harmless(source, detection)
    origin = source_model(source, manifest, detection, options)
    return FoundModel(source=source, manifest=manifest, detection=detection, origin=origin)


def load_model(found: FoundModel, target: Target, host: Host) -> LoadedModel:
    """Read the graph, converted where it must be, and the golden cases.

    Raises the errors of builder/model, builder/formats and builder/convert.
    """
    manifest, onnx = found.manifest, onnx_of(found.source, found.detection, found.origin, host)
    graph = read_model(onnx.source, onnx.entry, OnnxLimits(opset=target.opsets[1], ir=target.ir_version))
    signature = serve_signature(graph.signature, manifest)
    artifact = stage_artifact(onnx.source, graph)
    cases = read_cases(found.source, manifest, signature) or generate_cases(
        signature, manifest, onnx.samples(manifest.renames)
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
