"""Makes a model smaller: float16, or weights (and activations) of 8 or 4 bits.

Request: ``model`` (path), ``output`` (directory to write ``model.onnx`` into), ``mode``, ``opset`` (the newest that the
runtime reads), ``calibration`` (list of .npz with ``input:NAME``, for int8-static and int8-symmetric). Value:
``float_bytes``, the weights as they were, and ``quantized_bytes``, those of them that the mode made smaller. Kind of
failure: not-applicable.

Weights are quantised by numpy or in the plain loops of onnxruntime's tools, never by a kernel that differs between
processors; what calibration measures, which is computed by such kernels, is rounded outwards to a coarse grid.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnx_output
import onnx_passes
from onnx import TensorProto, helper, numpy_helper
from worker_io import Failure, respond

DYNAMIC = ("MatMul", "Gemm", "Gather")
"""What gets 8-bit weights and quantises its input as it runs. Never Conv: ConvInteger takes ten times as long."""

STATIC = ("Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
          "Concat", "Reshape", "Transpose", "Flatten")  # fmt: skip
"""What has kernels for 8 bits, and what passes 8 bits on between those."""

LEAST_SHARE = 0.5
"""Of the weights must be in operators that a mode quantises, or it does not fit the model."""

BLOCK = 32
"""Weights that share one scale in MatMulNBits (onnxruntime, ContribOperators.md)."""

GRID_BITS = 6
"""Of the mantissa of a calibrated range: a step of 1.6 %, far above what kernels differ by."""

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def run(request: dict[str, Any]) -> dict[str, Any]:
    model = onnx.load(request["model"])
    mode, total = request["mode"], sum(map(weight_bytes, model.graph.initializer))
    if mode in ("int8-static", "int8-symmetric"):
        total -= weights_of(model.graph, ("Gather",))  # tables that are looked up stay as they are
    reached = weights_of(model.graph, REACHED[mode]) if mode != "fp16" else total
    require_share(mode, reached, total, model.graph)
    if mode.startswith("int8") and default_opset(model) < 13:  # scales per channel came with 13
        model = onnx.version_converter.convert_version(model, 13)
    made = MAKE[mode](model, request)
    made.ir_version = max(made.ir_version, onnx_passes.LEAST_IR)
    onnx_passes.drop_notes(made)
    onnx_passes.sort_nodes(made.graph)
    onnx_passes.drop_unused(made)
    onnx_output.write_model(made, request["output"], model.producer_name)
    return {"float_bytes": total, "quantized_bytes": reached}


def require_share(mode: str, reached: int, total: int, graph: Any) -> None:
    names = ", ".join(REACHED.get(mode, ()))
    if not total:
        raise Failure("not-applicable", "it has no weights in floating point that could be made smaller")
    if reached < LEAST_SHARE * total:
        rest = sorted({node.op_type for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "LSTM", "GRU")})
        where = f"; the rest is in {', '.join(rest)}" if rest else ""
        share = f"{100 * reached / total:.0f} % of the weights ({reached} of {total} bytes)"
        raise Failure("not-applicable", f"it quantises {names} with constant weights, which hold {share}{where}")


def weights_of(graph: Any, kinds: tuple[str, ...]) -> int:
    """Bytes of the float weights that nodes of these kinds take as their constant operand."""
    sizes = {tensor.name: weight_bytes(tensor) for tensor in graph.initializer if len(tensor.dims) > 1}
    taken = {
        name for node in graph.node if node.op_type in kinds and not node.domain
        for name in (node.input[:1] if node.op_type == "Gather" else node.input[1:2])
    }  # fmt: skip
    return sum(sizes.get(name, 0) for name in taken)


def weight_bytes(tensor: Any) -> int:
    item = {TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8, TensorProto.FLOAT16: 2}.get(tensor.data_type, 0)
    return int(item * math.prod(tensor.dims))


def default_opset(model: Any) -> int:
    return next((int(known.version) for known in model.opset_import if not known.domain), 0)


def to_fp16(model: Any, request: dict[str, Any]) -> Any:
    """Weights and computations in float16; inputs and outputs stay as they are."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=False)


def to_int8_dynamic(model: Any, request: dict[str, Any], kinds: tuple[str, ...] = DYNAMIC) -> Any:
    """8-bit weights with a scale for each channel; unsigned ones run several times slower."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "quantized.onnx"
        quantize_dynamic(
            model, path, op_types_to_quantize=list(kinds), per_channel=True, weight_type=QuantType.QInt8,
            use_external_data_format=True, extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
        return onnx.load(path)


def to_int8_symmetric(model: Any, request: dict[str, Any]) -> Any:
    """As TensorRT takes it: it knows no zero points, and no biases in 32 bits."""
    return to_int8_static(model, request, symmetric=True)


def to_int8_static(model: Any, request: dict[str, Any], *, symmetric: bool = False) -> Any:
    """8-bit weights and activations, the ranges of the activations measured with the calibration cases."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    kinds = list(STATIC)
    with tempfile.TemporaryDirectory() as directory:
        path, augmented = Path(directory) / "model.onnx", Path(directory) / "augmented.onnx"
        onnx.save_model(model, path, save_as_external_data=True, location="model.onnx.data")
        calibrator = create_calibrator(
            path, kinds, augmented_model_path=str(augmented), calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=True,
        )  # fmt: skip
        for case in request["calibration"]:
            calibrator.collect_data(Once(case))
        ranges = calibrator.compute_data()
        model = onnx.load(path)
    for name in list(ranges.keys()):
        low, high = (float(np.min(bound)) for bound in ranges[name].range_value)
        ranges[name].lowest, ranges[name].highest = np.float32(outwards(low)), np.float32(outwards(high))
    quantizer = QDQQuantizer(
        model, True, False, QuantType.QInt8, QuantType.QInt8 if symmetric else QuantType.QUInt8, ranges, [], [], kinds,
        {"MatMulConstBOnly": True, "ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
    )  # fmt: skip
    return quantizer.quantize_model()


class Once:
    """One calibration case, as onnxruntime's calibrator asks for it."""

    def __init__(self, path: str) -> None:
        with np.load(path, allow_pickle=False) as members:
            self.feed = {name.removeprefix("input:"): members[name] for name in members.files}

    def get_next(self) -> dict[str, Any] | None:
        given, self.feed = self.feed, {}
        return given or None


def outwards(bound: float) -> float:
    """The next number further from zero whose mantissa has GRID_BITS bits."""
    if not math.isfinite(bound) or bound == 0:
        return bound
    mantissa, exponent = math.frexp(abs(bound))
    return math.copysign(math.ldexp(math.ceil(mantissa * 2**GRID_BITS) / 2**GRID_BITS, exponent), bound)


def to_int4(model: Any, request: dict[str, Any]) -> Any:
    """4-bit weights in blocks, computed with in float32 (MatMulNBits); tables that are looked up in get 8 bits."""
    if weights_of(model.graph, ("Gather",)):
        model = to_int8_dynamic(model, request, ("Gather",))
    weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Gemm" and not node.domain and plain_gemm(node):
            nodes += packed_gemm(node, weights, model.graph)
        elif node.op_type == "MatMul" and not node.domain:
            nodes += packed(node, weights, model.graph, transposed=False)
        else:
            nodes.append(node)
    onnx_passes.replace(model.graph.node, nodes)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def plain_gemm(node: Any) -> bool:
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return found.get("alpha", 1.0) == found.get("beta", 1.0) == 1.0 and not found.get("transA", 0)


def packed_gemm(node: Any, weights: dict[str, Any], graph: Any) -> list[Any]:
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    if len(node.input) < 3:
        return packed(node, weights, graph, transposed=transposed)
    inner = onnx.NodeProto(name=node.name, op_type="Gemm", input=node.input[:2], output=[f"{node.output[0]}_product"])
    product = packed(inner, weights, graph, transposed=transposed)
    if product == [inner]:
        return [node]
    return [*product, helper.make_node("Add", [inner.output[0], node.input[2]], node.output, f"{node.name}_bias")]


def packed(node: Any, weights: dict[str, Any], graph: Any, *, transposed: bool) -> list[Any]:
    """The node with its constant matrix in 4 bits; as it is where it has none."""
    tensor = weights.get(node.input[1])
    if tensor is None or len(tensor.dims) != 2:
        return [node]
    matrix = numpy_helper.to_array(tensor)
    matrix = matrix if transposed else matrix.T
    name, (columns, rows) = node.input[1], matrix.shape
    if f"{name}_4bit" not in {one.name for one in graph.initializer}:
        values, scales = pack_4bit(matrix)
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_4bit"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scale"))
    return [
        helper.make_node(
            "MatMulNBits", [node.input[0], f"{name}_4bit", f"{name}_scale"], node.output, node.name,
            domain="com.microsoft", K=rows, N=columns, bits=4, block_size=BLOCK,
        )
    ]  # fmt: skip


def pack_4bit(matrix: Any) -> tuple[Any, Any]:
    """``matrix`` [columns, rows] as MatMulNBits stores it: [columns, blocks, BLOCK / 2] with the lower half of a byte
    first, and a scale for each block. A value v is (q - 8) * scale; the largest of a block becomes -8 exactly."""
    columns, rows = matrix.shape
    blocks = -(-rows // BLOCK)
    padded = np.zeros((columns, blocks * BLOCK), np.float32)
    padded[:, :rows] = matrix
    grouped = padded.reshape(columns, blocks, BLOCK)
    largest = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2)[..., None], axis=2)
    scale = (largest / np.float32(-8)).astype(np.float32)
    steps = np.divide(grouped, scale, out=np.zeros_like(grouped), where=scale != 0)
    values = np.clip(np.rint(steps) + 8, 0, 15).astype(np.uint8)
    return values[..., 0::2] | (values[..., 1::2] << 4), scale.reshape(-1)


REACHED = {
    "int8-dynamic": DYNAMIC,
    "int8-static": ("Conv", "MatMul", "Gemm"),
    "int8-symmetric": ("Conv", "MatMul", "Gemm"),
    "int4": DYNAMIC,
}
MAKE = {
    "fp16": to_fp16,
    "int8-dynamic": to_int8_dynamic,
    "int8-static": to_int8_static,
    "int8-symmetric": to_int8_symmetric,
    "int4": to_int4,
}

if __name__ == "__main__":
    respond(run, ("onnx", "onnxruntime"))
