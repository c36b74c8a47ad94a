"""What the workers for Keras, TensorFlow and TensorFlow Lite share: a concrete function to ONNX, names, last checks.

Stands beside the workers and is imported by them. tf2onnx leaves what it cannot convert in the graph
under TensorFlow's name: such operations are looked for, and onnxruntime must load what is written.
"""

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_quiet  # noqa: F401 - before TensorFlow, which reads what it sets

# isort: split
import numpy as np
import onnx
import onnx_canonical
import onnx_output
import onnxruntime
import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from worker_io import Failure

OPSET = 18
"""The newest that tf2onnx 1.17 writes."""
PACKAGES = ("tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

Shapes = Mapping[str, Sequence[int | None] | None]
"""Of the inputs by name; None for a dynamic dim, and for a shape of unknown rank."""


def require_numbers(name: str, dtype: Any) -> None:
    if tf.as_dtype(dtype) == tf.string:
        told = f"the input {name} takes text, and ONNX has no form of TensorFlow's operations on text"
        raise Failure("unsupported", f"{told}; save the part behind TextVectorization or StringLookup alone")


def require_defined(request: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Refuse an edge with NaN: TensorFlow's kernels for max pooling and relu pass it on or drop it, as the processor's
    instructions have it. A case of the user's is answered."""
    if request.get("optional") and any(array.dtype.kind == "f" and np.isnan(array).any() for array in inputs.values()):
        raise Failure("wrong-inputs", "TensorFlow leaves open what its pooling and activations make of NaN")


def exported(function: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The ONNX of a concrete function with its variables as constants; names are those of its arguments and results."""
    for collection in tuple(function.graph.collections):
        function.graph.clear_collection(collection)  # of TensorFlow 1: they name variables that are constants now
    try:
        with silent():
            frozen = convert_variables_to_constants_v2(function, lower_control_flow=False, aggressive_inlining=True)
            given, made = [t.name for t in frozen.inputs], [t.name for t in frozen.outputs]
            definition = frozen.graph.as_graph_def()
            model, _ = tf2onnx.convert.from_graph_def(
                definition, input_names=given, output_names=made, opset=OPSET,
                tensors_to_rename=dict(zip((*given, *made), (*inputs, *outputs), strict=True)),
            )  # fmt: skip
    except Exception as error:
        raise Failure("unsupported", words(error)) from error
    return model


def public(outputs: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """Names for the outputs that no input and no other output has."""
    names = [f"{name}_output" if name in inputs else name for name in outputs]
    return names if len(set(names)) == len(names) else [f"output_{number}" for number in range(len(names))]


def write(model: Any, shapes: Shapes, outputs: Sequence[str], request: dict[str, Any]) -> None:
    """``model.onnx``, inputs and outputs in the order given. Raises Failure for a graph that cannot be run."""
    require_operators(model)
    graph, names = model.graph, list(shapes)
    found = {tensor.name: tensor for tensor in (*graph.input, *graph.output)}
    lost = [name for name in (*names, *outputs) if name not in found]
    if lost:
        raise Failure("unsupported", f"the graph that tf2onnx wrote has no {lost[0]}: it changes nothing there")
    for field, order in ((graph.input, names), (graph.output, outputs)):
        tensors = [found[name] for name in order]
        del field[:]
        field.extend(tensors)
    for tensor in graph.input:
        name_dims(tensor, shapes[tensor.name])
    has_batch = any("batch" in dims_of(tensor)[:1] for tensor in graph.input)
    for tensor in graph.output:
        name_dims(tensor, [dim if isinstance(dim, int) else None for dim in dims_of(tensor)], has_batch)
    onnx_canonical.canonical(model)
    onnx_output.write_model(model, request["output"], "mbuild-tensorflow")
    require_loaded(Path(request["output"]) / "model.onnx")


def dims_of(tensor: Any) -> list[int | str]:
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.type.tensor_type.shape.dim]


def name_dims(tensor: Any, shape: Sequence[int | None] | None, has_batch: bool = True) -> None:
    """A dynamic first dim is ``batch``, another is called by its place, as ``image_2``."""
    if shape is None:
        return
    described = tensor.type.tensor_type
    unknown = not described.HasField("shape") or (not described.shape.dim and not shape)
    del described.shape.dim[:]
    if unknown and not shape:
        described.ClearField("shape")
    for axis, size in enumerate(shape):
        dim = described.shape.dim.add()
        if size is not None and size >= 0:
            dim.dim_value = size
        else:
            dim.dim_param = "batch" if axis == 0 and has_batch else f"{tensor.name}_{axis}"


def require_operators(model: Any) -> None:
    """Raise where operations are left that are TensorFlow's and not ONNX's."""
    opsets = {imported.domain: imported.version for imported in model.opset_import}
    graphs, unknown = [model.graph], set()
    while graphs:
        for node in graphs.pop().node:
            try:
                onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
            except onnx.defs.SchemaError:
                unknown.add(node.op_type)
            graphs += [a.g for a in node.attribute if a.HasField("g")]
    if unknown:
        raise Failure("unsupported", f"ONNX has no form of its operations {', '.join(sorted(unknown))}")


def require_loaded(path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Failure("unsupported", f"onnxruntime does not load what tf2onnx wrote: {words(error)}") from error


def words(error: object) -> str:
    """The first sentences of what TensorFlow, Keras and tf2onnx say, without tracebacks and dumps of protobufs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r'(File ".*", line \d+|Traceback |[~^ ]+$)', line)]
    return " ".join(told[:4])[:600] or type(error).__name__


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Converters print their progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
