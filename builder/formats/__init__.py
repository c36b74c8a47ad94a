"""One file per format: is it this, and what does it say about itself. Nothing here unpickles or imports a framework.

``detect`` chooses the one model of a directory. It refuses to guess: nothing found, several models or several formats
are errors that say what was seen and how to say which is meant.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Protocol

from builder.errors import SpecError, UnsupportedModel
from builder.formats.huggingface import HuggingFaceFormat, require_whole
from builder.formats.jax import JaxFormat
from builder.formats.keras import KerasFormat, KerasWeightsAlone
from builder.formats.known import (
    CATBOOST,
    LIGHTGBM,
    PICKLE,
    SKOPS,
    TFLITE,
    TORCH_EXPORT,
    TORCHSCRIPT,
    XGBOOST,
    Sighting,
    recognize,
)
from builder.formats.mlflow import MlflowWrapper
from builder.formats.onnx import OnnxFormat
from builder.formats.paddle import PaddleFormat, require_parameters
from builder.formats.recognized import RecognizedFormat
from builder.formats.saved_model import SavedModelFormat
from builder.formats.sklearn import SklearnFormat, uncommon_callables
from builder.formats.torch_state import TorchStateFormat, WeightsWithoutModule, require_module
from builder.formats.triton import TritonWrapper
from builder.formats.wrapper import WrappedModelNotRead, Wrapper
from builder.model.manifest import ModelManifest
from builder.model.problems import suggestion
from builder.model.source import Detection, ModelSource


class Format(Protocol):
    """A format that mbuild reads. ``summary`` says in a line what its files look like."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        """Every model of this format in the listing, from names and first bytes alone; ``sightings`` are what
        ``known.recognize`` found in the same listing."""
        ...


_TORCH_STATE = TorchStateFormat()
_JAX = JaxFormat()
_WITH_MODULE = (_TORCH_STATE, _JAX)
_SKLEARN = SklearnFormat()
_HUGGING_FACE = HuggingFaceFormat()
_KERAS = KerasFormat()
_SAVED_MODEL = SavedModelFormat()
_PADDLE = PaddleFormat()
FORMATS: tuple[Format, ...] = (
    OnnxFormat(),
    RecognizedFormat(name="xgboost", summary="XGBoost: a .json or .ubj file of Booster.save_model", kind=XGBOOST),
    RecognizedFormat(name="lightgbm", summary="LightGBM: a .txt file of Booster.save_model", kind=LIGHTGBM),
    RecognizedFormat(name="catboost", summary="CatBoost: a .cbm file of save_model", kind=CATBOOST),
    RecognizedFormat(name="torchscript", summary="PyTorch: a TorchScript file of torch.jit.save", kind=TORCHSCRIPT),
    RecognizedFormat(name="torch-export", summary="PyTorch: a .pt2 file of torch.export.save", kind=TORCH_EXPORT),
    _TORCH_STATE,
    _JAX,
    _SKLEARN,
    _HUGGING_FACE,
    _KERAS,
    _SAVED_MODEL,
    RecognizedFormat(name="tflite", summary="TensorFlow Lite: a .tflite file", kind=TFLITE),
    _PADDLE,
)
WRAPPERS: tuple[Wrapper, ...] = (MlflowWrapper(), TritonWrapper())
_READ = {format_.kind for format_ in FORMATS if isinstance(format_, RecognizedFormat)} | {SKOPS}
_READ |= {*_KERAS.kinds, *_SAVED_MODEL.kinds, *_PADDLE.kinds}


class NoModelFound(UnsupportedModel):
    code = "no-model-found"
    message = "no model was found in {path}; it holds {files}"
    hint = "mbuild reads\n{formats}"


class FormatNotRead(UnsupportedModel):
    code = "format-not-read"
    message = "{path} holds no model that this version of mbuild reads, but:\n{sightings}"
    hint = "export the model to ONNX first ({export}); it reads\n{formats}"


class PickleOfNoModel(UnsupportedModel):
    code = "pickle-of-no-model"
    message = "{path} is a pickle, but of no model that mbuild reads; loading it would call {callables}"
    hint = "nothing of it was run; mbuild reads {formats}"


class SeveralFormats(UnsupportedModel):
    code = "several-formats"
    message = "{path} holds models in {count} formats:\n{models}"
    hint = (
        "say which one to pack, in model.yaml: `format: {example}`; or move the others out of the directory; "
        "docs/several-models.md packs all of them into one image"
    )


class SeveralModels(UnsupportedModel):
    code = "several-models"
    message = "{path} holds {count} models:\n{models}"
    hint = (
        "say which one to pack, in model.yaml: `file: {example}`; or give each a directory of its own; "
        "docs/several-models.md packs all of them into one image"
    )


class UnknownFormat(SpecError):
    code = "unknown-format"
    message = "model.yaml: format: {format!r} is not a format that this version of mbuild reads"
    hint = "it reads {formats}"


class ModelFileMissing(SpecError):
    code = "model-file-missing"
    message = "model.yaml: file: {file!r} is not a model of the directory{suggestion}"
    hint = "name a model file relative to the directory: {models}"


def detect(source: ModelSource, manifest: ModelManifest) -> Detection:
    """The model to pack. Raises one of this module's errors where there is not exactly one, and what its format raises
    where it is not whole."""
    found = _choose(source, manifest)
    if found.format == _HUGGING_FACE.name:
        require_whole(source, found.entry)
    if found.format == _PADDLE.name:
        require_parameters(source, found.entry)
    return found


def _choose(source: ModelSource, manifest: ModelManifest) -> Detection:
    if manifest.format and manifest.format not in _names():
        raise UnknownFormat(format=manifest.format, formats=", ".join(sorted(_names())))
    # Who names a module means the weights that it computes with; without one, weights are no model.
    sightings = recognize(source)
    with_module = _JAX if _JAX.is_meant(manifest, sightings) else _TORCH_STATE
    said = manifest.format or (with_module.name if manifest.module else "")
    if said in (format_.name for format_ in _WITH_MODULE):
        require_module(source, manifest)
    usable = [format_ for format_ in FORMATS if format_ not in _WITH_MODULE or said == format_.name]
    found = tuple(model for format_ in usable for model in format_.detect(source, sightings))
    found = (*_wrapped(source, found, sightings, manifest), *found)
    matching = tuple(model for model in found if said in ("", model.format, model.wrapper))
    if manifest.file:
        return _named(matching, manifest.file)
    wanted = _uncovered(matching)
    covered = frozenset[PurePosixPath]().union(*(model.covers for model in wanted))
    others = () if said else tuple(seen for seen in sightings if seen.kind not in _READ and seen.path not in covered)
    if not wanted:
        raise _nothing(source, others or sightings)
    _require_one_format(source, wanted, others)
    if len(wanted) > 1:
        lines = "\n".join(f"  {model.entry}" for model in wanted)
        raise SeveralModels(path=source.directory, count=len(wanted), models=lines, example=wanted[0].entry)
    return wanted[0]


def _wrapped(
    source: ModelSource, models: tuple[Detection, ...], sightings: tuple[Sighting, ...], manifest: ModelManifest
) -> tuple[Detection, ...]:
    """The models that lie in a directory of MLflow or Triton. One that is not read is left out where model.yaml says
    that something else is meant."""
    try:
        return tuple(model for wrapper in WRAPPERS for model in wrapper.wrap(source, models, sightings))
    except WrappedModelNotRead:
        if manifest.file or manifest.format not in ("", *(wrapper.name for wrapper in WRAPPERS)):
            return ()
        raise


def _uncovered(models: tuple[Detection, ...]) -> tuple[Detection, ...]:
    """Without those that are a part of another one."""
    return tuple(
        model for model in models if not any(model.entry in other.covers for other in models if other is not model)
    )


def _named(models: tuple[Detection, ...], file: str) -> Detection:
    chosen = next((model for model in models if model.entry == PurePosixPath(file)), None)
    if chosen is None:
        names = [str(model.entry) for model in models]
        there = ", ".join(names) or "there is none here"
        raise ModelFileMissing(file=file, suggestion=suggestion(file, names), models=there)
    return chosen


def _require_one_format(source: ModelSource, models: tuple[Detection, ...], others: tuple[Sighting, ...]) -> None:
    lines = {model.format: f"  {model.entry}: {model.format}" for model in reversed(models)}
    lines |= {sighting.kind.title: f"  {sighting}" for sighting in reversed(others) if sighting.kind.certain}
    if len(lines) > 1:
        example = models[0].format
        raise SeveralFormats(path=source.directory, count=len(lines), models="\n".join(lines.values()), example=example)


def _nothing(source: ModelSource, sightings: tuple[Sighting, ...]) -> UnsupportedModel:
    if sightings and sightings[0].kind in _TORCH_STATE.kinds:
        return WeightsWithoutModule(path=sightings[0].path)
    if sightings and sightings[0].kind in _KERAS.kinds:
        return KerasWeightsAlone(path=sightings[0].path)
    refusal = _JAX.refusal(sightings) or _PADDLE.refusal(sightings)
    if refusal is not None:
        return refusal
    if sightings and sightings[0].kind is PICKLE and (calls := _uncommon(source, sightings[0])):
        return PickleOfNoModel(path=sightings[0].path, callables=", ".join(calls[:8]), formats=_summaries())
    if sightings:
        lines = "\n".join(f"  {sighting}" for sighting in sightings[:10])
        export = sightings[0].kind.export
        return FormatNotRead(path=source.directory, sightings=lines, formats=_summaries(), export=export)
    names = [str(file.path) for file in source.files]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return NoModelFound(path=source.directory, files=", ".join(names[:5]) + more, formats=_summaries())


def _names() -> set[str]:
    """What ``format`` of model.yaml may say."""
    return {format_.name for format_ in FORMATS} | {wrapper.name for wrapper in WRAPPERS}


def _uncommon(source: ModelSource, sighting: Sighting) -> tuple[str, ...]:
    """What a pickle names beyond harmless things; nothing where it cannot be read."""
    found = Detection(format=_SKLEARN.name, entry=sighting.path, evidence=())
    try:
        return uncommon_callables(source, found)
    except UnsupportedModel:
        return ()


def _summaries() -> str:
    summaries = [format_.summary for format_ in FORMATS] + [wrapper.summary for wrapper in WRAPPERS]
    return "\n".join(f"  {summary}" for summary in summaries)
