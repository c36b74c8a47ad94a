"""What is done to a graph after its export, so that its bytes depend on the model alone: nothing here computes a float.

Stands beside the workers and is imported by them; needs onnx and nothing of mbuild. Every pass changes the model in
place, keeps what the model computes and the names of its inputs and outputs, and gives the same result on any machine.
"""

import heapq
from collections.abc import Iterator
from typing import Any

import onnx
import onnx.inliner
import onnx.version_converter
from onnx import numpy_helper
from worker_io import Failure

LEAST_IR = 8
"""Of onnx 1.10: from 4 on, a weight need not be listed as an input that a caller may replace."""

_SKELETON_BYTES = 1024
"""Shapes are inferred from the values of small tensors only (the target of a Reshape), never from weights."""


def optimize(model: Any, opset: int, ml_opset: int, ir_version: int) -> Any:
    """All passes in their order, for a runtime that reads up to these versions; the model, which may be a new one.
    Raises Failure of kind ``opset``."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    model = lower_opsets(model, opset, ml_opset)
    model.ir_version = min(max(model.ir_version, LEAST_IR), ir_version)
    drop_notes(model)
    drop_default_inputs(model.graph)
    merge_initializers(model.graph)
    drop_unused(model)
    infer_shapes(model)
    return model


def lower_opsets(model: Any, opset: int, ml_opset: int) -> Any:
    """A model whose opsets a runtime reads; only ai.onnx can be converted to an older one."""
    versions = {known.domain or "ai.onnx": known.version for known in model.opset_import}
    if versions.get("ai.onnx.ml", 0) > ml_opset:
        raise Failure("opset", f"opset {versions['ai.onnx.ml']} of ai.onnx.ml cannot be lowered to {ml_opset}")
    if versions.get("ai.onnx", 0) <= opset:
        return model
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # it raises RuntimeError and ConvertError, which onnx does not export
        reason = str(error).strip().splitlines()[-1]
        raise Failure("opset", f"opset {versions['ai.onnx']} cannot be lowered to {opset}: {reason[:300]}") from error


def drop_notes(model: Any) -> None:
    """What exporters note for people who debug them: paths, lines of source, comments. The model's own stay."""
    for graph in _graphs(model.graph):
        for part in (graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
            part.ClearField("doc_string")
            del part.metadata_props[:]
    notes = sorted((note.key, note.value) for note in model.metadata_props)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(notes))


def drop_default_inputs(graph: Any) -> None:
    """Weights that are listed as inputs, too, which keeps a runtime from treating them as constants."""
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    replace(graph.input, kept)


def merge_initializers(graph: Any) -> None:
    """One of several equal tensors, and every tensor in one form (raw bytes)."""
    outputs = {value.name for value in graph.output}
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    for tensor in graph.initializer:
        _make_raw(tensor)
        if tensor.name in outputs or not tensor.raw_data:
            continue
        kept = first.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
        if kept != tensor.name:
            same[tensor.name] = kept
    for inner in _graphs(graph) if same else ():
        for node in inner.node:
            node.input[:] = [same.get(name, name) for name in node.input]


def drop_unused(model: Any) -> None:
    """Nodes and tensors that no output needs, and opsets that no node is of; weights in the order of their use."""
    graph = model.graph
    wanted, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_reads(node))
    replace(graph.node, kept[::-1])
    order: dict[str, int] = {}
    for node in graph.node:
        for name in _reads(node):
            order.setdefault(name, len(order))
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    replace(graph.initializer, sorted(weights, key=lambda tensor: order.get(tensor.name, len(order))))
    domains = {node.domain for inner in _graphs(graph) for node in inner.node} | {""}
    opsets = {"" if known.domain == "ai.onnx" else known.domain: known.version for known in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items()) if domain in domains
    )


def sort_nodes(graph: Any) -> None:
    """Every node after those whose outputs it reads, otherwise in the order that they have."""
    maker = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    waits = [{maker[name] for name in _reads(node) if name in maker} for node in graph.node]
    readers: dict[int, list[int]] = {}
    for number, makers in enumerate(waits):
        for one in makers:
            readers.setdefault(one, []).append(number)
    ready, order = [number for number, makers in enumerate(waits) if not makers], []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers.get(order[-1], ()):
            waits[reader].discard(order[-1])
            if not waits[reader]:
                heapq.heappush(ready, reader)
    replace(graph.node, [graph.node[number] for number in order])


def infer_shapes(model: Any) -> None:
    """Shapes of the tensors within, and of outputs that have none, where the exporter gave none (its own say more: the
    names of dims, without which onnxruntime fuses less)."""
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    for tensor in skeleton.graph.initializer:
        if len(tensor.raw_data) > _SKELETON_BYTES:
            tensor.ClearField("raw_data")
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        inferred = model.graph
    made = {name for node in model.graph.node for name in node.output} - {value.name for value in model.graph.output}
    known = [value for value in inferred.value_info if value.name in made]
    replace(model.graph.value_info, sorted(known, key=lambda value: value.name))
    for value, found in zip(model.graph.output, inferred.output, strict=True):
        if value.type.WhichOneof("value") == "tensor_type" and not value.type.tensor_type.HasField("shape"):
            value.CopyFrom(found)


def _make_raw(tensor: Any) -> None:
    if tensor.raw_data or tensor.data_type == onnx.TensorProto.STRING or 0 in tensor.dims:
        return
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))


def _reads(node: Any) -> Iterator[str]:
    """The names that a node reads, also those that the graphs inside it take from around it."""
    yield from filter(None, node.input)
    for inner in _inner(node):
        for one in inner.node:
            yield from _reads(one)
        yield from (value.name for value in inner.output)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from _graphs(inner)


def _inner(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def replace(field: Any, items: list[Any]) -> None:
    """``items`` may be parts of ``field`` itself, so they are copied first."""
    copies = [type(item).FromString(item.SerializeToString(deterministic=True)) for item in items]
    del field[:]
    field.extend(copies)
