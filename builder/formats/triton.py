"""Model repositories of Triton: ``NAME/config.pbtxt`` with ``NAME/VERSION/model.onnx`` or another backend's file.

The highest version is taken (of those that version_policy names). The model itself is one of another format here; the
configuration gives a TorchScript file its inputs and the names of its outputs, and is held against what an ONNX graph
says. Refused by name: ensembles, Python backends and engines that are built for one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from builder.errors import UnsupportedModel
from builder.formats.known import Sighting
from builder.formats.triton_config import TritonConfig, parse_config
from builder.formats.wrapper import WrappedModelNotRead, below, lies_at
from builder.model.problems import Problem, listing, suggestion
from builder.model.signature import Signature, TensorSpec
from builder.model.source import Detection, ModelSource

NAME = "config.pbtxt"
_FILES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("model.onnx",),
    "onnxruntime_onnx": ("model.onnx",),
    "pytorch": ("model.pt",),
    "pytorch_libtorch": ("model.pt",),
    "tensorflow": ("model.savedmodel",),
    "tensorflow_savedmodel": ("model.savedmodel",),
    "fil": ("xgboost.json", "xgboost.ubj", "model.txt"),
}
"""By backend or platform: what Triton calls the model's file or directory."""

_ADVICE = {
    "ensemble": "pack the models that it joins one by one, each from its own directory of the repository",
    "python": "its model.py is Python code, which has no ONNX: pack the model that it calls",
    "tensorrt": "an engine belongs to one GPU and one TensorRT: pack the ONNX file that it was built from",
    "tensorrt_plan": "an engine belongs to one GPU and one TensorRT: pack the ONNX file that it was built from",
    "tensorflow_graphdef": "save it as a SavedModel (tf.saved_model.save), or convert it with tf2onnx",
}
_NAMELESS, _NAMED = "torchscript", "onnx"
"""A format whose tensors Triton calls by the configuration, and one whose tensors it finds by their own names; other
backends have rules of their own, and are not held against their configuration."""


class TritonMismatch(UnsupportedModel):
    code = "triton-mismatch"
    message = "{path} does not describe the model beside it:\n{problems}"
    hint = "Triton would not load this model either; correct the configuration, or leave input and output out of it"


class TritonWrapper:
    """See the module."""

    name = "triton"
    summary = "Triton: a model repository, with config.pbtxt and a numbered version"

    def wrap(
        self, source: ModelSource, models: tuple[Detection, ...], sightings: tuple[Sighting, ...]
    ) -> tuple[Detection, ...]:
        paths = (file.path for file in source.files if file.path.name == NAME)
        return tuple(_wrapped(source, path, models) for path in paths)


def _wrapped(source: ModelSource, path: PurePosixPath, models: tuple[Detection, ...]) -> Detection:
    config = parse_config(source.locate(path).read_bytes(), path)
    known = (config.file,) if config.file else _FILES.get(config.runtime, ())
    if config.runtime and config.runtime not in _FILES:
        advice = _ADVICE.get(config.runtime, 'export the model to ONNX and put it there, with backend: "onnxruntime"')
        raise WrappedModelNotRead(path=path, reason=f"its backend is {config.runtime}", advice=advice)
    version = _version(source, path, config)
    place = path.parent / str(version)
    names = known or tuple(name for names in _FILES.values() for name in names)
    inside = [model for model in models if any(lies_at(model.entry, place / name) for name in names)]
    if not inside:
        lies = ", ".join(file.path.name for file in source.files if lies_at(file.path, place)) or "nothing"
        advice = f"Triton calls it {' or '.join(dict.fromkeys(names))}; it has to be of a format that mbuild reads"
        raise WrappedModelNotRead(path=path, reason=f"in {place} there is {lies}", advice=advice)
    nameless = inside[0].format == _NAMELESS
    return replace(
        inside[0],
        evidence=(*inside[0].evidence, f"{path}: version {version} of a model in a repository of Triton"),
        covers=frozenset(below(source, path.parent)) | inside[0].covers,
        wrapper="triton",
        inputs=_in_order(config.inputs) if nameless else (),
        outputs=tuple(tensor.name for tensor in _in_order(config.outputs)) if nameless else (),
    )


def require_as_configured(source: ModelSource, found: Detection, graph: Signature) -> None:
    """Hold config.pbtxt against the graph beside it. Raises TritonMismatch, with everything that differs."""
    if found.wrapper != TritonWrapper.name or found.format not in (_NAMED, _NAMELESS):
        return
    path = next(parent / NAME for parent in found.entry.parents if source.find(parent / NAME))
    config = parse_config(source.locate(path).read_bytes(), path)
    outputs = graph.outputs
    if len(found.outputs) == len(outputs):
        outputs = tuple(replace(spec, name=name) for spec, name in zip(outputs, found.outputs, strict=True))
    sides = (("input", config.inputs, graph.inputs), ("output", config.outputs, outputs))
    problems = [
        Problem(f"{side} {tensor.name}", text)
        for side, configured, own in sides
        for tensor in configured
        for text in _differences(tensor, {spec.name: spec for spec in own}, config.max_batch)
    ]
    given = {tensor.name for tensor in config.inputs}
    problems += [
        Problem("input", f"the model also takes {spec.name}")
        for spec in graph.inputs
        if given and spec.name not in given
    ]
    if problems:
        raise TritonMismatch(path=path, problems=listing(problems))


def _differences(tensor: TensorSpec, own: Mapping[str, TensorSpec], max_batch: int) -> Iterator[str]:
    spec = own.get(tensor.name)
    if spec is None:
        yield f"the model has none of this name{suggestion(tensor.name, own)}"
        return
    if tensor.datatype is not spec.datatype:
        yield f"it is {tensor.datatype} here, and {spec.datatype} in the model"
    if len(tensor.shape) != len(spec.shape):
        with_batch = " with its batch" if max_batch else ""
        yield f"it has {len(tensor.shape)} dims{with_batch} here, and {len(spec.shape)} in the model"
        return
    if max_batch > 1 and isinstance(spec.shape[0], int):
        yield f"max_batch_size is {max_batch}, but its first dim is fixed to {spec.shape[0]} in the model"
    for axis, (wanted, size) in enumerate(zip(tensor.shape, spec.shape, strict=True)):
        if isinstance(wanted, int) and isinstance(size, int) and wanted != size:
            yield f"axis {axis} has {wanted} here, and {size} in the model"


def _version(source: ModelSource, path: PurePosixPath, config: TritonConfig) -> int:
    depth = len(path.parent.parts)
    inside = (file.path.parts[depth] for file in source.files if lies_at(file.path, path.parent))
    found = sorted({int(part) for part in inside if re.fullmatch(r"[1-9]\d*", part)})
    chosen = [number for number in found if not config.versions or number in config.versions]
    if not chosen:
        reason = f"no version directory, such as {path.parent / '1'}"
        if found:
            reason = f"version_policy names {_list(config.versions)}, and there is {_list(found)}"
        raise WrappedModelNotRead(path=path, reason=reason, advice="put the model into a directory with a number")
    return chosen[-1]


def _list(numbers: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, numbers))


def _in_order(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """By the number of Triton's convention INPUT__0, else as they stand (backend pytorch, docs: naming conventions)."""
    numbers = [re.search(r"__(\d+)$", tensor.name) for tensor in tensors]
    if not all(numbers):
        return tensors
    return tuple(sorted(tensors, key=lambda tensor: int(tensor.name.rpartition("__")[2])))
