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
    """Check it and write ``model.onnx``; the same model gives the same bytes."""
    model.ir_version = min(model.ir_version, 13) or IR
    model.producer_name, model.producer_version, model.doc_string = producer, "", ""
    model.graph.name, model.graph.doc_string = "model", ""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise Failure("unsupported", f"the exporter wrote an ONNX graph that is not valid: {error}") from error
    (Path(directory) / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
