"""How converting workers write ONNX: one shape for every exporter's result, and bytes that depend on the model alone.

Stands beside the workers and is imported by them; needs onnx and nothing of mbuild.
"""

from pathlib import Path
from typing import Any

import onnx
from worker_io import Failure

OPSET, ML_OPSET, IR = 21, 5, 10
"""What the onnxruntime of every target of mbuild loads; newer ones are taken as an exporter writes them up to
onnxruntime's own limit, which the build checks afterwards."""

EXTERNAL_BYTES = 64 << 20
"""Weights beyond this lie beside the graph, in ``model.onnx.data``."""


def batch_first(graph: Any, names: dict[str, str]) -> None:
    """Give tensors their public ``names`` (old to new), and call the first dim of each input and output ``batch``."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in (*graph.input, *graph.output):
        tensor.name = names.get(tensor.name, tensor.name)
        dims = tensor.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            dims[0].dim_param = "batch"


def write_model(model: Any, directory: str, producer: str) -> None:
    """Check it and write ``model.onnx``, large weights beside it; the same model gives the same bytes."""
    model.ir_version = min(model.ir_version, 13) or IR
    model.producer_name, model.producer_version, model.doc_string = producer, "", ""
    model.graph.name, model.graph.doc_string = "model", ""
    path = Path(directory) / "model.onnx"
    try:
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > EXTERNAL_BYTES:
            onnx.save_model(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
            onnx.checker.check_model(str(path))  # by its path: one message holds no more than 2 GiB
        else:
            onnx.checker.check_model(model)
            path.write_bytes(model.SerializeToString(deterministic=True))
    except onnx.checker.ValidationError as error:
        raise Failure("unsupported", f"the exporter wrote an ONNX graph that is not valid: {error}") from error
