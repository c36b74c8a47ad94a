"""Model directories for tests: whole, and broken in the ways that users meet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from builder.errors import MbuildError
from builder.formats import detect
from builder.formats.onnx import OnnxLimits, OnnxModel, read_model
from builder.model.manifest import read_manifest
from builder.model.source import list_model
from tests.support import onnx_models


def save_mlp(path: Path) -> Path:
    """x [n, 4] to p [n, 3], at ``path``."""
    return save(onnx_models.mlp(), path)


def save_identity(path: Path, datatype: str = "FP32", shape: tuple[int | str, ...] = ("n", "m")) -> Path:
    """y = x."""
    return save(onnx_models.identity(datatype, shape), path)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def save_external(path: Path, location: str = "weights/w.bin", *, size: int | None = None) -> Path:
    """y = x + w with w [4, 8] in ``location``, of which ``size`` bytes are written (None: all; -1: no file)."""
    weights = np.arange(32, dtype=np.float32).reshape(4, 8)
    tensor = numpy_helper.from_array(weights, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(weights.nbytes))):
        field = tensor.external_data.add()
        field.key, field.value = key, value
    shape = ("n", 8)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [tensor],
    )
    data = path.parent / location
    if size != -1 and ".." not in location and not location.startswith("/"):
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_bytes(weights.tobytes()[:size])
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def save_large(path: Path, size: int, seed: int = 0) -> Path:
    """y = table[i] with ``size`` bytes of random FP32 in external data: as large as wished, and quick to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = size // 4096
    with (path.parent / "weights.bin").open("wb") as out:
        random = np.random.default_rng(seed)
        for first in range(0, rows, 4096):
            out.write(random.random((min(4096, rows - first), 1024), dtype=np.float32).tobytes())
    tensor = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=(rows, 1024))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(rows * 4096))):
        field = tensor.external_data.add()
        field.key, field.value = key, value
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ("n",))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 1024))],
        [tensor],
    )
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def save_layers(path: Path, count: int, size: int = 1 << 20, *, tuned: int | None = None) -> Path:
    """y = x + the largest number of each of ``count`` tensors of ``size`` random bytes, all in one file; the tensor
    number ``tuned`` is another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = (
        np.random.default_rng([number, number == tuned]).random(size // 4, dtype=np.float32) for number in range(count)
    )
    tensors = _beside(path, arrays)
    largest = [helper.make_node("ReduceMax", [tensor.name], [f"m{tensor.name}"], keepdims=0) for tensor in tensors]
    total = helper.make_node("Sum", ["x", *(node.output[0] for node in largest)], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n",)) for name in "xy"]
    graph = helper.make_graph([*largest, total], "graph", sides[:1], sides[1:], tensors)
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def save_products(path: Path, count: int, width: int = 1024) -> Path:
    """y = x times ``count`` matrices [width, width], one after the other, all in one file; numbers stay near 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = np.float32((3 / width) ** 0.5)
    matrices = (
        (2 * np.random.default_rng(number).random((width, width), dtype=np.float32) - 1) * scale
        for number in range(count)
    )
    tensors = _beside(path, matrices)
    names = ["x", *(f"h{number}" for number in range(1, count)), "y"]
    nodes = [helper.make_node("MatMul", [names[at], one.name], [names[at + 1]]) for at, one in enumerate(tensors)]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", width)) for name in "xy"]
    graph = helper.make_graph(nodes, "graph", sides[:1], sides[1:], tensors)
    return save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _beside(path: Path, arrays: Iterable[Any]) -> list[TensorProto]:
    """FP32 tensors, whose bytes are written to weights.bin beside the model."""
    tensors: list[TensorProto] = []
    with (path.parent / "weights.bin").open("wb") as out:
        for number, array in enumerate(arrays):
            tensor = TensorProto(name=f"layers.{number:03d}.weight", data_type=TensorProto.FLOAT, dims=array.shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": "weights.bin", "offset": str(out.tell()), "length": str(array.nbytes)}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=value)
            out.write(array.tobytes())
            tensors.append(tensor)
    return tensors


def operator_model(node: Any, *, domains: Mapping[str, int] | None = None) -> onnx.ModelProto:
    """A model of one node from x [n] to y [n]; ``domains`` are further opset imports."""
    opsets = {"": 17, **(domains or {})}
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n",))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n",))],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def read_directory(directory: Path, limits: OnnxLimits | None = None) -> OnnxModel:
    """The whole way of a model directory up to its description."""
    source = list_model(directory)
    found = detect(source, read_manifest(source))
    return read_model(source, found.entry, limits or OnnxLimits())


def complaint(error: MbuildError, directory: Path) -> str:
    """Message and hint as they are shown, without the place of this test's directory."""
    text = f"{error}\n{error.advice}\n"
    for path in (os.path.realpath(directory), str(directory)):
        text = text.replace(path, "<MODEL>")
    return text
