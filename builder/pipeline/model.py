"""From a model directory to a model that is understood, with the golden cases that it will be asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from builder.canonical import content_key
from builder.convert.convert import SourceModel, in_own_environment, source_model
from builder.convert.converters import CONVERTERS
from builder.events import Warned
from builder.formats import detect
from builder.formats.code import require_harmless
from builder.formats.mlflow_example import input_example
from builder.formats.onnx import read_model, stage_artifact
from builder.formats.torchscript import call_arguments
from builder.formats.triton import require_as_configured
from builder.host import Host
from builder.host.remembered import remembered_digest
from builder.model.cases import read_both_cases
from builder.model.edges import edge_cases, with_ranges
from builder.model.engines import Engines
from builder.model.example import Example, describe, example_case, plain_example_case, read_example
from builder.model.generate import generate_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.manifest import ModelManifest, Tolerances, read_manifest
from builder.model.renames import serve_inputs, serve_signature, with_declared_outputs
from builder.model.signature import Signature
from builder.model.source import Detection, ModelArtifact, ModelSource, list_model
from builder.oci.digest import Digest
from builder.pipeline.converted import limits_of, onnx_of
from builder.pipeline.operators import require_operators
from builder.pipeline.plain import PlainModel, find_around, plain_model
from builder.plan.chunks import MOST_CHUNKS
from builder.plan.spec import NO_OPTIONS, ConvertOptions
from builder.servers import tensors_name
from builder.targets import Target
from builder.targets.lock import QuantizeChoice


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundModel:
    """What a directory holds. ``origin`` is the model of another framework, None where it is ONNX already;
    ``example`` is an input that lies beside the model; ``most_chunks`` may hold its weights in the image."""

    source: ModelSource
    manifest: ModelManifest
    detection: Detection
    origin: SourceModel | None
    example: Example | None = None
    most_chunks: int = MOST_CHUNKS


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedModel:
    """A model that was read and checked; ``cases`` are asked, not yet answered, and ``edges`` beside them where the
    model was converted; ``digest`` covers all that goes in; ``plain`` is what stands around it so that people can call
    it; ``quantize`` is what was chosen to make the graph smaller, and ``engines`` what was compiled of it: None where
    nothing of that kind was asked for."""

    format: str
    origin: SourceModel | None
    manifest: ModelManifest
    signature: Signature
    artifact: ModelArtifact
    cases: tuple[GoldenCase, ...]
    digest: Digest
    plain: PlainModel | None = None
    edges: tuple[GoldenCase, ...] = ()
    quantize: QuantizeChoice | None = None
    engines: Engines | None = None
    most_chunks: int = MOST_CHUNKS

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that clients call it by: its own, and with a plain model that of its tensors."""
        name = self.manifest.name
        return tuple(dict.fromkeys((name, tensors_name(name, is_plain=self.plain is not None))))


def find_model(directory: Path, options: ConvertOptions = NO_OPTIONS) -> FoundModel:
    """List the directory, read model.yaml, and say which file is the model. Nothing of the model is executed; one that
    would execute something when it is loaded is refused (ModelRunsCode), unless ``options.allow_code``."""
    source = list_model(directory)
    manifest = read_manifest(source)
    detection = detect(source, manifest)
    if not options.allow_code:
        require_harmless(source, detection)
    example = read_example(source)
    if example is not None:
        detection = _described(source, manifest, detection, example)
    origin = source_model(source, manifest, detection, options)
    return FoundModel(source=source, manifest=manifest, detection=detection, origin=origin, example=example)


def _described(source: ModelSource, manifest: ModelManifest, found: Detection, example: Example) -> Detection:
    """The detection with the inputs that only the example tells; what else tells them is held against it."""
    declared = manifest.inputs or found.inputs
    if declared:
        wanted = serve_inputs(declared, manifest)
        names = {"", *(spec.name for spec in (*declared, *wanted.inputs))}
        inputs = {name: array for name, array in example.inputs.items() if name in names}
        example_case(replace(example, inputs=inputs, outputs={}), wanted, manifest)
        return found
    converter = CONVERTERS.get(found.format)
    if converter is None or not converter.needs_inputs:
        return found
    arguments = call_arguments(source, found.entry) if found.format == "torchscript" else ()
    return replace(found, inputs=describe(example, arguments))


def load_model(found: FoundModel, target: Target, host: Host) -> LoadedModel:
    """Read the graph, converted where it must be, and the golden cases.

    Raises the errors of builder/model, builder/formats and builder/convert.
    """
    if found.origin:
        _tell_older(found.origin, found.detection, host)
        found = replace(found, origin=in_own_environment(found.origin, host))
    onnx = onnx_of(found.source, found.detection, found.origin, target, host)
    graph = read_model(onnx.source, onnx.entry, limits_of(target))
    require_operators(graph.operators, onnx.entry, target)
    require_as_configured(found.source, found.detection, graph.signature)
    manifest = with_declared_outputs(graph.signature, found.manifest, found.detection.outputs)
    around = find_around(found.source, manifest, onnx, graph.signature, host)
    signature = serve_signature(graph.signature, manifest, around.outputs)
    interface = around.whole(graph.signature, signature)
    given = read_both_cases(found.source, manifest, signature, interface.signature if interface else None)
    artifact = stage_artifact(
        onnx.source, graph, lambda path: remembered_digest(path, host.store, host.clock.now()), found.most_chunks
    )
    samples, continuous = onnx.samples(manifest.renames), onnx.continuous(manifest.renames)
    exact = {name: values for name, values in samples.items() if name not in continuous}
    manifest = with_ranges(manifest, signature, onnx.ranges())
    tolerance = manifest.tolerance.usual(found.origin.converter.tolerance) if found.origin else manifest.tolerance
    manifest = replace(manifest, tolerance=tolerance.fitted(signature))
    cases = given[0] or (
        *input_example(found.source, found.detection, signature),
        *(onnx.cases(manifest.renames) or generate_cases(signature, manifest, samples)),
    )
    plain = plain_model(around, interface, manifest, given[1]) if interface else None
    shown = plain_example_case(found.example, plain.interface.signature, manifest) if found.example and plain else None
    if plain and shown:
        plain = replace(plain, cases=(*plain.cases, _unique(shown, plain.cases)))
    elif found.example is not None:
        cases = (*cases, _unique(example_case(found.example, signature, found.manifest), cases))
    model = LoadedModel(
        format=found.detection.format,
        origin=found.origin,
        manifest=manifest,
        signature=signature,
        artifact=artifact,
        cases=cases,
        edges=edge_cases(signature, manifest, cases, exact) if found.origin else (),
        digest=_digest(manifest, signature, artifact, cases),
        most_chunks=found.most_chunks,
    )
    return model if plain is None else _with_plain(model, plain)


def _tell_older(origin: SourceModel, found: Detection, host: Host) -> None:
    """A user's own environment is told of by itself."""
    if not origin.options.python and (older := origin.converter.older_than(dict(found.versions))):
        message = f"{found.entry} was written by a newer version than the one that reads it: {', '.join(older)}"
        hint = "its answers are compared as ever; --env python=... converts it with an environment of your own"
        host.events.emit(Warned(message=message, hint=hint))


def _with_plain(model: LoadedModel, plain: PlainModel) -> LoadedModel:
    whole = content_key({"tensors": str(model.digest), "plain": plain.to_json()})
    return replace(model, plain=plain, digest=Digest.from_hex(whole))


def with_artifact(
    model: LoadedModel, artifact: ModelArtifact, tolerance: Tolerances, choice: QuantizeChoice
) -> LoadedModel:
    """The model with another graph that stands for it."""
    manifest = replace(model.manifest, tolerance=tolerance)
    digest = _digest(manifest, model.signature, artifact, model.cases)
    made = replace(model, artifact=artifact, manifest=manifest, digest=digest, quantize=choice)
    return _with_plain(made, model.plain) if model.plain else made


def _unique(case: GoldenCase, cases: tuple[GoldenCase, ...]) -> GoldenCase:
    """The example's case, under a name that no golden case has."""
    return replace(case, name="example-input") if any(other.name == case.name for other in cases) else case


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
