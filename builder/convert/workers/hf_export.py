"""A model of transformers as ONNX: its tensors by name, and the exporters in turn until one's graph answers as it does.

Stands beside the Hugging Face worker and is imported by it. PyTorch's first exporter comes first: it is ten times as
fast as the second on these models and as exact; the second takes what the first cannot, with the attention that a
model has and then with the plain one.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hf_ports
import numpy as np
import onnx
import onnxruntime
import torch
import torch_common
from worker_io import Arrays, Failure

_NEAR = 1e-3
"""What tells a graph that lost a dim or a mask from rounding; how near it must be is said by mbuild's own gate."""

Shapes = dict[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Form:
    """The inputs, the outputs with their dims, and an input to trace with."""

    ports: tuple[hf_ports.Port, ...]
    outputs: Shapes
    example: Arrays

    @property
    def shapes(self) -> Shapes:
        return {port.name: port.shape for port in self.ports} | self.outputs


class Named(torch.nn.Module):  # type: ignore[misc]
    """The model with positional inputs, as exporters want them, and its tensors by name. ``head`` makes
    ``sentence_embedding`` of the tokens where there is one."""

    def __init__(self, model: Any, ports: tuple[hf_ports.Port, ...], head: torch.nn.Module | None) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.names = tuple(port.name for port in ports)

    def named(self, *values: torch.Tensor) -> dict[str, torch.Tensor]:
        given = dict(zip(self.names, values, strict=True))
        answer = self.model(**given, return_dict=True).items()
        found = {name: value for name, value in answer if torch.is_tensor(value) and not name.startswith("encoder_")}
        if self.head is None:
            return found
        tokens = found["last_hidden_state"]
        return {"last_hidden_state": tokens, "sentence_embedding": self.head(tokens, given["attention_mask"])}

    def forward(self, first: torch.Tensor, second: Any = None, third: Any = None, fourth: Any = None) -> Any:
        values = (first, second, third, fourth)[: len(self.names)]
        return tuple(self.named(*values).values())


def answered(model: Named, inputs: Arrays) -> Arrays:
    """The framework's own answer."""
    values = torch_common.tensors(inputs)
    try:
        with torch.no_grad():
            return torch_common.arrays(model.named(*(values[name] for name in model.names)))
    except KeyError as error:
        raise Failure("wrong-inputs", f"the input {error} is missing") from error
    except (RuntimeError, IndexError, ValueError) as error:
        raise Failure("wrong-inputs", torch_common.words(error)) from error


def export(model: Named, form: Form, write: Callable[[Any], Path], cases: list[Arrays]) -> str:
    """Write the graph of the first exporter whose answers are the model's own; the name of that exporter."""
    told = []
    for name, attention, attempt in _ATTEMPTS:
        try:
            _attend(model, attention)
            proto = attempt(model, form)
            _declare(proto, form)
            reason = _differs(model, write(proto), cases)
        except Exception as error:
            reason = torch_common.words(error)
        finally:
            _attend(model, "")
        if not reason:
            return name
        told.append(f"{name}: {reason}")
    raise Failure("unsupported", "; ".join(told))


def _attend(model: Named, attention: str) -> None:
    if not hasattr(model, "usual"):
        model.usual = model.model.config._attn_implementation
    if (attention or model.usual) != model.model.config._attn_implementation:
        model.model.set_attn_implementation(attention or model.usual)


def _traced(model: Named, form: Form) -> Any:
    axes = {name: _dynamic(shape) for name, shape in form.shapes.items()}
    with tempfile.TemporaryDirectory() as directory, torch_common.silent(), torch.no_grad():
        path = Path(directory) / "model.onnx"  # a file, since weights beyond 2 GB go beside it
        torch.onnx.export(
            model, tuple(torch_common.tensors(form.example).values()), str(path), dynamo=False,
            opset_version=torch_common.OPSET, input_names=list(form.example), output_names=list(form.outputs),
            dynamic_axes=axes,
        )  # fmt: skip
        return onnx.load(path)


def _dynamic(shape: tuple[hf_ports.Dim, ...]) -> dict[int, str]:
    return {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)}


def _captured(model: Named, form: Form) -> Any:
    dims = {dim: torch.export.Dim(dim) for port in form.ports for dim in port.shape if isinstance(dim, str)}
    shapes = tuple({axis: dims[name] for axis, name in _dynamic(port.shape).items()} for port in form.ports)
    with torch_common.silent(), torch.no_grad():
        program = torch.onnx.export(
            model, tuple(torch_common.tensors(form.example).values()), dynamo=True, opset_version=torch_common.OPSET,
            dynamic_shapes=shapes, input_names=list(form.example), output_names=list(form.outputs), external_data=False,
            verbose=False,
        )  # fmt: skip
    return program.model_proto


_ATTEMPTS = (
    ("the first exporter", "", _traced),
    ("the second exporter", "", _captured),
    ("the second exporter with plain attention", "eager", _captured),
)


def _declare(proto: Any, form: Form) -> None:
    """The dims of inputs and outputs by the names for people; shapes in between are left to who infers them anew."""
    kept = {tensor.name: tensor for tensor in (*proto.graph.input, *proto.graph.output)}
    for name, dims in form.shapes.items():
        if name not in kept:
            raise Failure("unsupported", f"the exporter finds that the input {name} changes nothing")
        shape = kept[name].type.tensor_type.shape
        shape.Clear()
        for dim in dims:
            shape.dim.add(**({"dim_value": dim} if isinstance(dim, int) else {"dim_param": dim}))
    del proto.graph.value_info[:]


def _differs(model: Named, path: Path, cases: list[Arrays]) -> str:
    """Where the graph answers otherwise than the model, or nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for inputs in cases:
        expected = answered(model, inputs)
        for (name, value), got in zip(expected.items(), session.run(list(expected), inputs), strict=True):
            if value.shape != got.shape:
                return f"{name} has the shape {list(got.shape)} instead of {list(value.shape)}"
            if not np.allclose(value, got, rtol=_NEAR, atol=_NEAR, equal_nan=True):
                return f"{name} differs by {np.abs(value - got).max():.3g}"
    return ""
