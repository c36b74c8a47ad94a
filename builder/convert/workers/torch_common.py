"""What the workers for PyTorch share: example inputs, names of outputs, a model's own answers, and ONNX without traces.

Stands beside the workers and is imported by them. A model's outputs may be a tensor (``output``), a tuple
(``output_0``, ``output_1`` ...), a dict or a named tuple (its own names), or these inside each other.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_output
import torch
from torch.utils import _pytree as pytree
from worker_io import Arrays, Failure

OPSET = 18
"""What the new exporter writes without converting versions, and the old one writes as well."""

DATATYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}

# What torch, sympy and others count on in one process: the same every time.
torch.set_num_threads(1)
torch.manual_seed(0)
torch.use_deterministic_algorithms(True, warn_only=True)
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

Names = dict[int, str]
Model = Callable[..., Any]


def symbol(dim: str) -> str:
    """The dim as torch writes names: an identifier."""
    return re.sub(r"\W", "_", dim)


def sizes(request: dict[str, Any]) -> dict[str, int]:
    """A size for every dynamic dim of an example: two for a batch, which no exporter takes for fixed, and different
    ones for the others, so that none is taken for another."""
    found: dict[str, int] = {}
    for tensor in request["inputs"]:
        for axis, dim in enumerate(tensor["shape"]):
            if isinstance(dim, str) and dim not in found:
                found[dim] = _size(tensor, axis, request["dims"].get(dim), 8 * len(found))
    return found


def _size(tensor: dict[str, Any], axis: int, bounds: dict[str, int] | None, further: int) -> int:
    if bounds is not None:
        return max(bounds["opt"], 2) if bounds["max"] is None or bounds["max"] > 1 else 1
    if axis == 0:
        return 2
    return (64 if len(tensor["shape"]) >= 4 else 16) + further


def examples(request: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A tensor for each input of model.yaml: floats in [-1, 1), integers 0 and 1, booleans of both kinds."""
    found, numbers = sizes(request), torch.Generator().manual_seed(0)
    made = {}
    for tensor in request["inputs"]:
        shape = [found[dim] if isinstance(dim, str) else dim for dim in tensor["shape"]]
        dtype = DATATYPES.get(tensor["datatype"])
        if dtype is None:
            raise Failure("wrong-inputs", f"{tensor['name']} is {tensor['datatype']}, and PyTorch has no such tensors")
        if dtype.is_floating_point:
            made[tensor["name"]] = (torch.rand(shape, generator=numbers) * 2 - 1).to(dtype)
        else:
            made[tensor["name"]] = torch.randint(0, 2, shape, generator=numbers).to(dtype)
    return made


def dynamic_axes(request: dict[str, Any]) -> dict[str, dict[int, str]]:
    """For each input its dynamic dims, by axis."""
    return {
        tensor["name"]: {axis: symbol(dim) for axis, dim in enumerate(tensor["shape"]) if isinstance(dim, str)}
        for tensor in request["inputs"]
    }


def named(value: Any) -> dict[str, torch.Tensor]:
    """The tensors of what a model gave, by name, in the order in which exporters flatten them."""
    leaves, _ = pytree.tree_flatten_with_path(value)
    found: dict[str, torch.Tensor] = {}
    for path, leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            raise Failure("unsupported", f"an output is a {type(leaf).__name__}, not a tensor: {words(leaf)}")
        found[_output_name(path)] = leaf
    if not found:
        raise Failure("unsupported", "the model gives no output")
    return found


def _output_name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path]
    text = "_".join(re.sub(r"\W", "_", part) for part in parts)
    return text if text and not text[0].isdigit() else f"output_{text}".rstrip("_")


def trial(model: Model, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's answer to the examples: before anybody exports it, see that it takes what model.yaml describes."""
    try:
        with torch.no_grad():
            return named(model(*given.values()))
    except Failure:
        raise
    except Exception as error:
        described = ", ".join(f"{name} {tensor.dtype} {list(tensor.shape)}" for name, tensor in given.items())
        raise Failure("wrong-inputs", f"with {described} torch says: {words(error)}") from error


def tensors(inputs: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}


def arrays(outputs: Mapping[str, torch.Tensor]) -> Arrays:
    """For the golden case; bfloat16 has no form in numpy."""
    odd = [name for name, tensor in outputs.items() if tensor.dtype not in DATATYPES.values()]
    if odd:
        raise Failure("unsupported", f"the output {odd[0]} is {outputs[odd[0]].dtype}, which has no form in requests")
    return {name: tensor.detach().numpy() for name, tensor in outputs.items()}


def words(error: object) -> str:
    """The first sentences of what torch says, without its colours, its tracebacks and its lists of sources."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r'(File ".*", line \d+|Traceback |~|[\^ ]+$|Torch IR graph)', line)]
    last = told[-1:] if "TorchScript interpreter" in text else told[:4]  # it begins with its source
    return " ".join(last)[:600] or type(error).__name__


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Exporters print their progress."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def write(proto: Any, request: dict[str, Any], dims: Mapping[str, str]) -> None:
    """``model.onnx`` with ``dims`` renamed (also inside expressions), and without the paths and lines of source that
    the exporter notes."""
    for tensor in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda match: dims.get(match[0], match[0]), dim.dim_param)
    without_traces(proto)
    require_known_floats(proto.graph)
    onnx_output.write_model(proto, request["output"], "mbuild-pytorch")


def require_known_floats(graph: Any) -> None:
    """Refuse weights that onnxruntime would load and then not compute with."""
    if any(tensor.data_type == onnx.TensorProto.BFLOAT16 for tensor in graph.initializer):
        told = "its weights are bfloat16, with which onnxruntime does not compute on processors"
        raise Failure("unsupported", f"{told}; call model.float() before it is exported")


def without_traces(proto: Any) -> None:
    graphs = [proto.graph, *proto.functions]
    while graphs:
        graph = graphs.pop()
        parts = [graph, *graph.node, *graph.value_info, *getattr(graph, "initializer", ())]
        for part in (*parts, *(t for t in (*graph.input, *graph.output) if not isinstance(t, str))):
            part.doc_string = ""
            del part.metadata_props[:]
        graphs += [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
        graphs += [inner for node in graph.node for a in node.attribute for inner in a.graphs]
    del proto.metadata_props[:]


def exported_by_tracing(model: Any, request: dict[str, Any], given: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """The ONNX of a ScriptModule by the exporter that can take one. Raises what that exporter raises."""
    batch = {name: {0: "batch"} for name, tensor in outputs.items() if tensor.ndim}
    axes = {name: axes for name, axes in dynamic_axes(request).items() if axes}
    content = io.BytesIO()
    with silent(), torch.no_grad():
        torch.onnx.export(
            model, tuple(given.values()), content, dynamo=False, opset_version=OPSET,
            input_names=list(given), output_names=list(outputs), dynamic_axes=axes | (batch if axes else {}),
        )  # fmt: skip
    proto = onnx.load_from_string(content.getvalue())
    kept = {tensor.name for tensor in proto.graph.input}
    lost = [name for name in given if name not in kept]
    if lost:
        raise Failure("unsupported", f"the exporter finds that the input {lost[0]} changes nothing; leave it out")
    return proto


def dims_of(request: dict[str, Any]) -> dict[str, str]:
    """torch's names of the dims to those of model.yaml."""
    return {symbol(dim): dim for tensor in request["inputs"] for dim in tensor["shape"] if isinstance(dim, str)}
