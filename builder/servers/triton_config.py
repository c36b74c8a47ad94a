"""``config.pbtxt``: how Triton serves one model, written from its signature with the reason of each choice beside it.

Protobuf's text form of ``ModelConfig`` (triton-inference-server/common, protobuf/model_config.proto; Triton 2.51).
Pure. What Triton would refuse when it loads the model is refused here, before there is an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from builder.errors import UnsupportedModel
from builder.model.golden import Array, GoldenCase
from builder.model.manifest import ModelManifest
from builder.model.protocol import as_bytes_array
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.servers.server import PackedModel

BATCH_LIMIT = 1024
"""Rows of a request where model.yaml gives no bound: nothing is set aside for it, and Triton refuses what is larger."""

CPU_ROWS = 8
"""Of one run on a processor; more gain nothing (measured, as for the minimal server)."""

GPU_ROWS = 32
"""The same on a GPU, as for the minimal server."""

WARM_UP = "warmup"
"""The directory beside config.pbtxt where Triton looks for the tensors of a warm-up."""


class NotForTriton(UnsupportedModel):
    code = "not-for-triton"
    message = "Triton cannot serve the model {name}: {reason}"
    hint = "build it with --server http, or change the model so that it fits"


class Backend(StrEnum):
    """What runs the model inside Triton."""

    PYTHON = "python"
    ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """``limit`` rows at most, 0 where Triton must leave the first dim alone; ``reason`` for people."""

    limit: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """A first request that Triton sends itself: for each input its shape and bytes, without the batch dim."""

    case: str
    inputs: tuple[tuple[TensorSpec, tuple[int, ...], bytes], ...]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Names below ``WARM_UP``, and contents."""
        for number, (_, _, content) in enumerate(self.inputs):
            yield f"input_{number}", content


@dataclass(frozen=True, kw_only=True, slots=True)
class TritonModel:
    """One model of the repository. ``on_gpu``: its target has one. ``is_plain``: steps around the graph, no graph."""

    name: str
    signature: Signature
    manifest: ModelManifest
    backend: Backend
    on_gpu: bool
    is_plain: bool = False
    warm_up: WarmUp | None = None

    @property
    def batching(self) -> Batching:
        if self.is_plain:
            return Batching(limit=0, reason="the steps take each request by itself")
        return find_batching(self.signature, self.manifest)


def described_graph(model: PackedModel, backend: Backend, *, on_gpu: bool) -> TritonModel:
    """The graph of a model for one backend, with the warm-up that its golden cases give."""
    graph = TritonModel(
        name=model.tensors_name,
        signature=model.signature,
        manifest=model.manifest,
        backend=backend,
        on_gpu=on_gpu,
    )
    return replace(graph, warm_up=find_warm_up(model.signature, model.cases, graph.batching.limit > 0))


def find_batching(signature: Signature, manifest: ModelManifest) -> Batching:
    """Whether all tensors begin with the same dynamic dim and go on behind it, which is what Triton's batches are."""
    for spec in (*signature.inputs, *signature.outputs):
        if len(spec.shape) < 2:
            return Batching(limit=0, reason=f"{spec.name} has no dim behind the first, and Triton would show one")
        if isinstance(spec.shape[0], int):
            return Batching(limit=0, reason=f"the first dim of {spec.name} is fixed, so there are no batches")
    names = sorted({str(spec.shape[0]) for spec in (*signature.inputs, *signature.outputs)})
    if len(names) > 1:
        return Batching(limit=0, reason=f"the first dims differ ({', '.join(names)}), so they are no batch")
    bounds = next((dim for dim in manifest.dims if dim.name == names[0]), None)
    shown = f"the dynamic dim {names[0]}" if names[0] else "a dynamic dim"
    if bounds is not None and bounds.max is not None:
        reason = f"every tensor begins with {shown}, which takes {bounds.max} at most (dims.{names[0]} of model.yaml)"
        return Batching(limit=bounds.max, reason=reason)
    reason = f"every tensor begins with {shown}; nothing is set aside for this bound, it only ends requests of nonsense"
    return Batching(limit=BATCH_LIMIT, reason=reason)


def check_tensors(model: TritonModel) -> None:
    """Raises NotForTriton for what Triton, or this backend of it, cannot carry."""
    renames = model.manifest.renames
    if model.backend is Backend.ONNXRUNTIME and (renames.inputs or renames.outputs):
        reason = "model.yaml renames tensors, and Triton's onnxruntime backend knows them by the graph's own names only"
        raise NotForTriton(name=model.name, reason=reason)
    for spec in (*model.signature.inputs, *model.signature.outputs):
        if model.backend is Backend.PYTHON and spec.datatype is Datatype.BF16:
            reason = f"{spec.name} is BF16, which numpy, and so Triton's python backend, does not have"
        elif not spec.shape:
            reason = f"{spec.name} is a scalar, and Triton has no tensor without dims"
        elif any(isinstance(dim, int) and dim < 1 for dim in spec.shape):
            reason = f"{spec.name} has a dim of fixed size 0, which Triton does not take"
        else:
            continue
        raise NotForTriton(name=model.name, reason=reason)


def find_warm_up(signature: Signature, cases: tuple[GoldenCase, ...], batched: bool) -> WarmUp | None:
    """The smallest golden case that has something in every tensor; of a batch, its first row."""
    usable = [case for case in cases if all(array.size for array in case.inputs.values())]
    if not usable:
        return None
    case = min(usable, key=lambda case: (sum(array.nbytes for array in case.inputs.values()), case.name))
    given = ((spec, case.inputs[spec.name]) for spec in signature.inputs)
    arrays = [(spec, array[0] if batched else array) for spec, array in given]
    return WarmUp(case=case.name, inputs=tuple((spec, array.shape, _raw(array)) for spec, array in arrays))


def _raw(array: Array) -> bytes:
    """As the binary tensor extension has it: little-endian, row by row; of BYTES each length before its bytes."""
    if array.dtype.kind in "SUO":
        items = as_bytes_array(array).ravel().tolist()
        return b"".join(len(item).to_bytes(4, "little") + item for item in items)
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()


def config_text(model: TritonModel) -> str:
    """The whole file. Raises NotForTriton."""
    check_tensors(model)
    return "".join(f"{line}\n" for line in _lines(model))


def _lines(model: TritonModel) -> Iterator[str]:
    batching = model.batching
    yield "# Written by mbuild from the model; a line above a setting says why it is so."
    yield f"name: {_quoted(model.name)}"
    yield from _backend(model)
    yield f"# {' '.join(batching.reason.split())}"  # a name may have a line break in it
    yield f"max_batch_size: {batching.limit}"
    for side, specs in (("input", model.signature.inputs), ("output", model.signature.outputs)):
        for spec in specs:
            yield from _tensor(side, spec, batched=batching.limit > 0)
    yield from _dynamic_batching(model, batching)
    yield from _instances(model)
    yield "# the image has one version"
    yield "version_policy { latest { num_versions: 1 } }"
    if not model.on_gpu:
        yield "# there is no GPU to copy to, which is what pinned memory is for"
        yield "optimization { input_pinned_memory { enable: false } output_pinned_memory { enable: false } }"
    yield from _warm_up(model)
    yield from _parameters(model)


def _backend(model: TritonModel) -> Iterator[str]:
    if model.backend is Backend.ONNXRUNTIME:
        yield "# the base image has Triton's own backend for ONNX"
    elif model.is_plain:
        yield "# the steps around the graph are Python"
    else:
        yield "# onnxruntime as a Python package: the binaries of Triton that PyPI has come with this backend alone"
    yield f"backend: {_quoted(model.backend.value)}"


def _tensor(side: str, spec: TensorSpec, *, batched: bool) -> Iterator[str]:
    dims = ", ".join(map(str, spec.protocol_shape[1:] if batched else spec.protocol_shape))
    datatype = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
    yield f"{side} {{ name: {_quoted(spec.name)} data_type: TYPE_{datatype} dims: [ {dims} ] }}"


def _dynamic_batching(model: TritonModel, batching: Batching) -> Iterator[str]:
    wish = model.manifest.server.batching
    if not batching.limit or wish.max_batch == 1:
        return
    sizes = [size for size in wish.preferred if size <= batching.limit]
    preferred = f"preferred_batch_size: [ {', '.join(map(str, sizes))} ] " if sizes else ""
    delay = f"max_queue_delay_microseconds: {round(wish.delay_seconds * 1e6)} " if wish.delay_seconds else ""
    yield "# requests that wait are run together (server.batching of model.yaml); no default_queue_policy, since"
    yield "# with one this Triton lets single requests wait for half a second (docs/triton.md)"
    yield f"dynamic_batching {{ {preferred}{delay}}}"


def _instances(model: TritonModel) -> Iterator[str]:
    if model.is_plain:
        count = model.manifest.server.threads or 2
        yield "# an instance is a process that waits while the graph computes: another one prepares meanwhile"
        yield f"instance_group [ {{ count: {count} kind: KIND_CPU }} ]"
        return
    if model.on_gpu:
        yield "# one on each GPU; KIND_AUTO would serve from the processor where none is found, and this fails instead"
        yield "instance_group [ { count: 1 kind: KIND_GPU } ]"
        return
    if model.backend is Backend.PYTHON:
        yield "# an instance is a process with weights of its own; one keeps all processors busy (parameter threads)"
        yield "instance_group [ { count: 1 kind: KIND_CPU } ]"
        return
    count = model.manifest.server.threads or 2
    yield "# instances share the weights in memory; two keep two processors busy (server.threads of model.yaml)"
    yield f"instance_group [ {{ count: {count} kind: KIND_CPU }} ]"


def _warm_up(model: TritonModel) -> Iterator[str]:
    if model.is_plain:
        yield "# no warm-up: Triton loads models in any order, and the steps need the graph, which warms up by itself"
    if model.warm_up is None:
        return
    yield f"# the golden case {model.warm_up.case}, so that the model is ready only when it has answered once"
    yield "model_warmup ["
    yield f"  {{ name: {_quoted(model.warm_up.case)} batch_size: {1 if model.batching.limit else 0}"
    for number, (spec, shape, _) in enumerate(model.warm_up.inputs):
        datatype = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
        dims = ", ".join(map(str, shape))
        yield f"    inputs {{ key: {_quoted(spec.name)} value {{"
        yield f'      data_type: TYPE_{datatype} dims: [ {dims} ] input_data_file: "input_{number}" }} }}'
    yield "  }"
    yield "]"


def _parameters(model: TritonModel) -> Iterator[str]:
    threads = model.manifest.server.threads
    if model.backend is Backend.ONNXRUNTIME and not model.on_gpu:
        yield "# each instance computes on one thread: the instances are what keeps the processors busy"
        for name in ("intra_op_thread_count", "inter_op_thread_count"):
            yield _parameter(name, "1")
    elif model.backend is Backend.PYTHON and not model.is_plain:
        yield "# threads that share what waits; 0: as many as the container may use (server.threads of model.yaml)"
        yield _parameter("threads", str(threads))
        where = "a GPU takes many as quickly as few" if model.on_gpu else "on a processor more gain nothing"
        yield f"# rows of requests that are run together (server.batching.max_batch); {where}"
        usual = GPU_ROWS if model.on_gpu else CPU_ROWS
        yield _parameter("rows", str(model.manifest.server.batching.max_batch or usual))


def _parameter(name: str, value: str) -> str:
    return f"parameters {{ key: {_quoted(name)} value {{ string_value: {_quoted(value)} }} }}"


def _quoted(text: str) -> str:
    """A string of protobuf's text form: UTF-8, with what is not printable ASCII as octal escapes."""
    return '"' + "".join(_escaped(byte) for byte in text.encode()) + '"'


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
