"""Turns a model of another framework into ONNX, and asks that framework for the answers that the ONNX must give.

Both run in the format's locked environment, or in one of the user's own, without network, from the same worker. What
they gave is kept in the store by everything that decides it: the model's files, the environment's versions, the
worker's source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from builder.canonical import content_key
from builder.convert.answers import NOTHING, Answers, Questions, keep
from builder.convert.converters import CONVERTERS, Converter
from builder.convert.envs import ensure_environment
from builder.convert.own import OwnEnvironment, own_environment
from builder.convert.sandbox import Guard
from builder.convert.tools import worker_digest
from builder.convert.worker import (
    WorkerAnswer,
    WorkerCrashed,
    WorkerFailed,
    WorkerJob,
    WorkerOutOfMemory,
    WorkerTimeout,
    run_worker,
    take_output,
)
from builder.errors import ConversionError, MbuildError, SpecError, UnsupportedModel
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.host.remembered import remembered_digest
from builder.model.golden import Array, GoldenCase
from builder.model.manifest import DimRange, ModelManifest, ModuleSpec
from builder.model.signature import TensorSpec
from builder.model.source import Detection, ModelSource
from builder.oci.digest import Digest
from builder.plan.spec import NO_OPTIONS, ConvertOptions


class ConversionFailed(ConversionError):
    code = "conversion-failed"
    message = "{path} cannot be converted to ONNX from {framework}: {reason}"
    hint = "these are the exporter's own words, with {versions}; export it to ONNX yourself and put model.onnx there"


class BrokenSourceModel(UnsupportedModel):
    code = "broken-source-model"
    message = "{path} is not a whole {framework} model: {reason}"
    hint = "it was cut off, or another version wrote it; save it again with {versions}"


class SourceNotAnswering(ConversionError):
    code = "source-not-answering"
    message = "{framework} does not answer the golden cases of {path}: {reason}"
    hint = (
        "check the golden cases against the model's inputs; generated ones take their sizes from `dims` in model.yaml"
    )


class InputsMissing(SpecError):
    code = "inputs-missing"
    message = "{path} does not say what it takes: a {framework} file of this kind has no datatypes and shapes"
    hint = (
        "put an example beside it (example.npz, .json, .png, .jpg, .wav or .txt), or say it in model.yaml, by the "
        "names of the arguments and in their order, for example\n"
        "inputs:\n  image: {{datatype: FP32, shape: [batch, 3, 224, 224]}}"
    )


class InputsNotTaken(SpecError):
    code = "inputs-not-taken"
    message = "{path} does not take the inputs that model.yaml or the example describes: {reason}"
    hint = "`inputs` has the names of the model's arguments, their datatypes, and shapes with names for dynamic dims"


class ModuleNotUsable(SpecError):
    code = "module-not-usable"
    message = "the module that model.yaml names does not give the model of {path}: {reason}"
    hint = "`module` has a file, a class (or function) of it, and the arguments it is called with"


class SignatureMissing(SpecError):
    code = "signature-missing"
    message = "{path} does not say which of its functions is to be served: {reason}"
    hint = "name one in model.yaml, for example `signature: serving_default`"


class CodeInWeights(UnsupportedModel):
    code = "code-in-weights"
    message = "{path} would run code of its own when {framework} loads it: {reason}"
    hint = "nothing of it was run. If it comes from somebody you trust, let them save it without such objects"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceModel:
    """A model of another framework as it lies in its directory, and the converter that reads it. ``inputs``, ``dims``,
    ``signature`` and ``module`` are what model.yaml says; ``declared`` where the inputs are what the directory itself
    says instead (a signature of MLflow); ``files`` are all that the converter may read; ``own`` is an
    environment of the user's, where one was named."""

    directory: Path
    entry: PurePosixPath
    inputs: tuple[TensorSpec, ...]
    converter: Converter
    files: tuple[PurePosixPath, ...]
    dims: tuple[DimRange, ...] = ()
    signature: str = ""
    module: ModuleSpec | None = None
    declared: bool = False
    options: ConvertOptions = NO_OPTIONS
    own: OwnEnvironment | None = None

    @property
    def tools(self) -> Mapping[str, str]:
        """What a lock says about the conversion."""
        worker = {self.converter.worker: worker_digest(self.converter.worker)}
        pins = (pin.partition("==")[::2] for pin in self.converter.environment.requirements)
        versions = (("env", "user"), *self.own.versions) if self.own else pins
        return worker | {f"convert.{name}": version for name, version in versions}


def source_model(
    source: ModelSource, manifest: ModelManifest, found: Detection, options: ConvertOptions = NO_OPTIONS
) -> SourceModel | None:
    """The model to convert; None where it is ONNX already. Raises InputsMissing."""
    converter = CONVERTERS.get(found.format)
    if converter is None:
        return None
    inputs = manifest.inputs or found.inputs
    if converter.needs_inputs and not inputs:
        raise InputsMissing(path=found.entry, framework=converter.framework)
    return SourceModel(
        directory=source.directory,
        entry=found.entry,
        inputs=inputs,
        converter=converter.fitted(dict(found.versions)),
        options=options,
        files=_read_by_converters(source, manifest.handler.file if manifest.handler else None),
        dims=manifest.dims,
        signature=manifest.signature,
        module=manifest.module,
        declared=bool(found.wrapper and found.inputs and not manifest.inputs),
    )


def in_own_environment(model: SourceModel, host: Host) -> SourceModel:
    """The same model, converted by the Python that the user named, if any. Raises what ``own_environment`` raises."""
    python = model.options.python
    return replace(model, own=own_environment(python, model.converter, host)) if python else model


def _read_by_converters(source: ModelSource, handler: PurePosixPath | None) -> tuple[PurePosixPath, ...]:
    """All files but those that only mbuild or a person reads, and the user's own code around the model."""
    return tuple(
        file.path
        for file in source.files
        if file.path.parts[0] not in ("golden", "calibration", "labelled")
        and file.path.suffix not in (".md", ".yaml", ".yml")
        and file.path.name != "LICENSE"
        and file.path != handler
    )


def convert(model: SourceModel, host: Host) -> Path:
    """A directory with ``model.onnx``. Raises ConversionFailed, BrokenSourceModel, and what running a worker raises."""

    def make(directory: Path) -> None:
        _ask(model, "convert", NOTHING, directory, host)

    return host.store.directory("converted", _key(model, {}, host), make)


def answer_by_source(model: SourceModel, asked: Questions, host: Host) -> Answers:
    """The cases with the outputs that the framework itself computes; for the plain interface with its own tokenizer or
    image processor, from text or image files. Raises SourceNotAnswering.

    Where an optional case brings the whole framework down, none of them is answered."""
    try:
        return _answers(model, asked, host)
    except (WorkerCrashed, WorkerOutOfMemory, WorkerTimeout) as error:
        if not asked.optional:
            raise
        answers = _answers(model, Questions(cases=asked.cases), host)
        return replace(answers, unanswered={case.name: str(error) for case in asked.optional})


def _answers(model: SourceModel, asked: Questions, host: Host) -> Answers:
    def make(directory: Path) -> None:
        _ask(model, "answer", asked, directory, host)

    key = _key(model, asked.key, host)
    return asked.read(host.store.directory("source-answers", key, make))


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The floats that a source computed for a case, among them inputs and outputs, and its weights where it shows them;
    ``sees_between``: not inputs and outputs alone."""

    values: tuple[Array, ...]
    weights: tuple[Array, ...]
    sees_between: bool


def watch_source(model: SourceModel, case: GoldenCase, host: Host) -> Watched:
    """What the framework computes on its way to the outputs. Raises what ``answer_by_source`` raises."""
    with temporary_directory(prefix="mbuild-watch-") as directory:
        answer = _ask(model, "watch", Questions(cases=(case,)), directory, host)
        with np.load(directory / "watched.npz", allow_pickle=False) as members:
            kept = {name: members[name] for name in members.files}
    sides = (tuple(array for name, array in kept.items() if name.startswith(side)) for side in ("value:", "weight:"))
    values, weights = sides
    return Watched(values=values, weights=weights, sees_between=bool(answer.value.get("sees_between")))


def _key(model: SourceModel, more: Mapping[str, object], host: Host) -> str:
    converter, now = model.converter, host.clock.now()
    digests = (remembered_digest(model.directory / path, host.store, now) for path in model.files)
    lines = (f"{path} {digest}" for path, digest in zip(model.files, digests, strict=True))
    decides: dict[str, object] = {
        "model": str(Digest.of("\n".join(lines).encode())),
        "worker": worker_digest(converter.worker),
    }
    decides |= {"entry": str(model.entry), **_said(model)}
    pins = sorted(converter.environment.requirements)
    return content_key({**decides, "environment": dict(model.own.versions) if model.own else pins, **more})


def _said(model: SourceModel) -> dict[str, object]:
    """What model.yaml says to a converter."""
    return {
        "inputs": [tensor.to_json() for tensor in model.inputs],
        "declared": model.declared,
        "dims": {dim.name: {"min": dim.min, "opt": dim.opt, "max": dim.max} for dim in model.dims},
        "signature": model.signature,
        "module": model.module.to_json() if model.module else None,
        "allow_code": model.options.allow_code,
    }


def _ask(model: SourceModel, action: str, asked: Questions, directory: Path, host: Host) -> WorkerAnswer:
    """Run the worker in a scratch directory; what it wrote as its output becomes the content of ``directory``."""
    python = model.own.python if model.own else ensure_environment(model.converter.environment, host)
    with temporary_directory(prefix="mbuild-convert-") as scratch:
        output = scratch / "output"
        output.mkdir()
        request = {
            "action": action,
            "interface": asked.interface,
            "output": str(output),
            "cases": asked.lay_out(scratch, output),
            "directory": str(model.directory),
            "model": str(model.directory / model.entry),
            **_said(model),
        }
        job = WorkerJob(
            worker=model.converter.worker,
            python=python,
            request=request,
            scratch=scratch,
            readable=(model.directory,),
            timeout=1800,
            least=Guard.BUBBLEWRAP if model.options.allow_code else Guard.NONE,
        )
        try:
            answer = run_worker(job, host)
        except WorkerFailed as error:
            raise _told(model, action, error) from error
        take_output(job, output, directory)
        if asked.all:
            keep(answer, directory)
        return answer


def _told(model: SourceModel, action: str, error: WorkerFailed) -> MbuildError:
    reason, versions = error.facts["reason"], error.facts["versions"]
    framework = model.converter.framework
    if error.facts["kind"] == "unsafe":
        return CodeInWeights(path=model.entry, framework=framework, reason=reason)
    if error.facts["kind"] == "wrong-module":
        return ModuleNotUsable(path=model.entry, reason=reason)
    if error.facts["kind"] == "no-signature":
        return SignatureMissing(path=model.entry, reason=reason)
    if error.facts["kind"] == "wrong-inputs" and action == "convert":
        return InputsNotTaken(path=model.entry, reason=reason)
    if error.facts["kind"] == "bad-model":
        return BrokenSourceModel(path=model.entry, framework=framework, reason=reason, versions=versions)
    if action == "answer":
        return SourceNotAnswering(path=model.entry, framework=framework, reason=reason)
    return ConversionFailed(path=model.entry, framework=framework, reason=reason, versions=versions)
