"""The signature of an ONNX graph in the words of the Open Inference Protocol.

Inputs that have an initializer are constants with a default (IR < 4 lists all weights so) and are left out. An unnamed
dynamic dim is named ``TENSOR.AXIS``. Refused, by the tensor's name: sequences, maps, optionals, sparse tensors, element
types that the protocol or its JSON cannot carry, and outputs whose rank is unknown even after shape inference.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnx import TensorProto

from builder.errors import UnsupportedModel
from builder.model.signature import Datatype, Dim, Signature, TensorSpec

_DATATYPES = {
    TensorProto.BOOL: Datatype.BOOL,
    TensorProto.UINT8: Datatype.UINT8,
    TensorProto.UINT16: Datatype.UINT16,
    TensorProto.UINT32: Datatype.UINT32,
    TensorProto.UINT64: Datatype.UINT64,
    TensorProto.INT8: Datatype.INT8,
    TensorProto.INT16: Datatype.INT16,
    TensorProto.INT32: Datatype.INT32,
    TensorProto.INT64: Datatype.INT64,
    TensorProto.FLOAT16: Datatype.FP16,
    TensorProto.FLOAT: Datatype.FP32,
    TensorProto.DOUBLE: Datatype.FP64,
    TensorProto.STRING: Datatype.BYTES,
}


class UnsupportedTensor(UnsupportedModel):
    code = "unsupported-tensor"
    message = "{side} {tensor!r} of {path} is {kind}, which the Open Inference Protocol cannot carry"
    hint = "export the model with plain tensors there (for scikit-learn: options={{'zipmap': False}}), or Cast to FLOAT"


class UnknownRank(UnsupportedModel):
    code = "unknown-rank"
    message = "{side} {tensor!r} of {path} has no shape, not even a number of dims"
    hint = "export the model with shapes, or add them with onnx.helper.make_tensor_value_info"


def read_signature(model: Any, path: object) -> Signature:
    """The signature of a ModelProto; ``path`` is for messages. Raises UnsupportedTensor or UnknownRank."""
    graph = model.graph
    if any(not value.type.tensor_type.HasField("shape") for value in graph.output if _is_tensor(value)):
        graph = _with_inferred_shapes(model)
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {sparse.values.name for sparse in graph.sparse_initializer}
    return Signature(
        inputs=tuple(_spec(value, "input", path) for value in graph.input if value.name not in constants),
        outputs=tuple(_spec(value, "output", path) for value in graph.output),
    )


def _is_tensor(value: Any) -> bool:
    return bool(value.type.WhichOneof("value") == "tensor_type")


def _with_inferred_shapes(model: Any) -> Any:
    """The graph with the shapes that onnx can infer; as it was where inference fails (it is only a courtesy)."""
    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return model.graph


def _spec(value: Any, side: str, path: object) -> TensorSpec:
    if not _is_tensor(value):
        kind = str(value.type.WhichOneof("value") or "of no type").removesuffix("_type").replace("_", " ")
        raise UnsupportedTensor(side=side, tensor=value.name, path=path, kind=f"a {kind}")
    tensor = value.type.tensor_type
    if tensor.elem_type not in _DATATYPES:
        raise UnsupportedTensor(side=side, tensor=value.name, path=path, kind=f"of type {_type_name(tensor.elem_type)}")
    if not tensor.HasField("shape"):
        raise UnknownRank(side=side, tensor=value.name, path=path)
    shape = tuple(_dim(dim, f"{value.name}.{axis}") for axis, dim in enumerate(tensor.shape.dim))
    return TensorSpec(name=value.name, datatype=_DATATYPES[tensor.elem_type], shape=shape)


def _type_name(elem_type: int) -> str:
    try:
        return str(TensorProto.DataType.Name(elem_type))
    except ValueError:
        return f"number {elem_type}"


def _dim(dim: Any, default: str) -> Dim:
    # A negative size is how some exporters wrote "dynamic"; onnxruntime reads it so too.
    if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param) or default
