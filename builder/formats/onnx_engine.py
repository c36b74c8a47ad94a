"""An engine as an ONNX model: one node EPContext, which onnxruntime gives to the execution provider it is meant for.

onnxruntime, "EP Context Cache Feature Design"; how the provider of TensorRT-RTX reads the node is in its source,
onnx_ctx_model_helper.cc (NVIDIA/TensorRT-RTX-EP-ABI): the engine from the file that ``ep_cache_context`` names, in the
directory of the model or below, and its tensors by the names of the node's inputs and outputs.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from builder.formats.onnx_wire import read_skeleton

SOURCE = "nv_tensorrt_rtx"
"""The provider, by the name under which our server registers it."""
_OPSET, _IR = 17, 8
_NODE = "engine"
_PRECISIONS = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}


def wrap_engine(graph: Path, engine: str, capability: str) -> bytes:
    """The model around the file ``engine``, with inputs and outputs as ``graph`` has them."""
    inner = onnx.ModelProto.FromString(read_skeleton(graph).model).graph
    constants = {tensor.name for tensor in inner.initializer}
    inputs = [value for value in inner.input if value.name not in constants]
    node = helper.make_node(
        "EPContext",
        [value.name for value in inputs],
        [value.name for value in inner.output],
        name=_NODE,
        domain="com.microsoft",
        main_context=1,
        embed_mode=0,
        ep_cache_context=engine,
        ep_sdk_version="1.0",
        hardware_architecture=capability.replace(".", ""),
        onnx_model_filename="model.onnx",
        partition_name=_NODE,
        source=SOURCE,
    )
    made = helper.make_graph([node], "engine", inputs, list(inner.output))
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=_IR, producer_name="mbuild")
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def precision_of(graph: Path) -> str:
    """What most of an engine of the graph computes with: TensorRT-RTX takes the types that the graph has."""
    inner = onnx.ModelProto.FromString(read_skeleton(graph).model).graph
    if any(node.op_type == "QuantizeLinear" for node in inner.node):
        return "int8"
    kinds = {tensor.data_type for tensor in inner.initializer}
    return next((name for kind, name in _PRECISIONS.items() if kind in kinds), "fp32")
