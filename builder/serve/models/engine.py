"""Models in onnxruntime: load, compare with what was declared, run.

One session for each model, used by several threads at once; each run uses one thread of its own (measured: more lose
as soon as another core is busy, and spinning makes it worse), unless MBUILD_RUN_THREADS says otherwise. Plain models
(plain.py) stand around one of these.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from ..device import CPU, CPU_PROVIDER, TENSORRT_PROVIDER, Device, GpuUnusable
from ..http.answers import Refusal
from ..protocol.codec import Signature
from ..protocol.tensors import DTYPES, Array, Tensor
from .complaints import plain
from .model_folder import ModelFolder, ModelUnusable, find_models

if TYPE_CHECKING:
    from .engine_files import Engine
    from .plain import AnyModel, PlainModel

RUNTIME_VERSION: str = onnxruntime.__version__
_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "bfloat16": "BF16",
}
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
# What onnxruntime raises when a graph cannot take what it was fed; a graph that answered its warm-up is itself sound.
_INPUT_ERRORS = ("InvalidArgument", "Fail", "RuntimeException", "NotImplemented", "InvalidGraph", "UnicodeEncodeError")
_GRAPH_ERRORS = ("InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NoModel")
"""What is wrong with the graph wherever it is loaded."""
_NO_MEMORY = re.compile(r"bad_alloc|allocate memory|out of memory", re.IGNORECASE)


class Model:
    """A loaded model. ``run`` may be called from any thread."""

    is_graph = True
    platform, backend, file = "onnxruntime_onnx", "onnxruntime", "model.onnx"
    labels: dict[str, list[str]] = {}  # noqa: RUF012 - nobody changes it
    takes_images = False

    def __init__(
        self,
        folder: ModelFolder,
        session: Any,
        signature: Signature,
        device: Device = CPU,
        engine: Engine | None = None,
    ) -> None:
        self.folder = self.graph_folder = folder
        self.name = folder.name
        self.version = folder.version
        self.signature = signature
        self.device = device
        self.provider = str(session.get_providers()[0])
        bounds = [folder.most(each.shape[0]) for each in signature.inputs if each.shape]
        self.most_rows = min((rows for rows in (*bounds, engine.most_rows if engine else 0) if rows), default=0)
        """Of a batch; 0: any number."""
        self._engine = engine
        self._session = session
        # Without the wrapper in Python, which checks again what the codec has checked.
        self._run = getattr(session, "_sess", session).run
        self._raw = any(each.datatype == "BF16" for each in (*signature.inputs, *signature.outputs))
        self._input_types = {each.graph_name: each.datatype for each in signature.inputs}

    def run(self, feeds: dict[str, Array], outputs: list[str]) -> list[Array]:
        """Raises Refusal: 400 where these inputs do not fit the graph, 503 where memory ran out, else 500."""
        if self._engine:
            self._engine.check(self.name, feeds)
        try:
            if self._raw:
                return self._run_raw(feeds, outputs)
            results: list[Array] = self._run(outputs, feeds, None)
            return results
        except Exception as error:
            raise self._refusal(error) from error

    def _run_raw(self, feeds: dict[str, Array], outputs: list[str]) -> list[Array]:
        """With OrtValues: the only way in and out for types that numpy has not."""
        values = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _BFLOAT16)
            if self._input_types[name] == "BF16"
            else onnxruntime.OrtValue.ortvalue_from_numpy(array)
            for name, array in feeds.items()
        }
        return [_array(value) for value in self._session.run_with_ort_values(outputs, values)]

    def _refusal(self, error: Exception) -> Refusal:
        text = plain(error)
        if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
            return Refusal(503, f"model '{self.name}' ran out of memory on these inputs", "BACKEND")
        status = 400 if type(error).__name__ in _INPUT_ERRORS else 500
        return Refusal(status, f"model '{self.name}' could not compute these inputs: {text}", "BACKEND")


def load_models(folder: Path, names: Sequence[str] = (), device: Device = CPU) -> list[AnyModel]:
    """The models of these names (none: all) with those that they stand around. Raises ModelUnusable, and GpuUnusable
    where one of them would not run on ``device``."""
    onnxruntime.set_default_logger_severity(4)
    found = find_models(folder, names)
    graphs = {each.name: _load(each, device) for each in found if each.graph.is_file()}
    models: list[AnyModel] = []
    for each in found:
        models.append(graphs.get(each.name) or _load_plain(each, graphs))
    return models


def _load_plain(folder: ModelFolder, graphs: dict[str, Model]) -> PlainModel:
    from .plain import load_plain

    return load_plain(folder, graphs)


def _load(folder: ModelFolder, device: Device) -> Model:
    session, device, engine = _open(folder, device)
    signature = Signature(
        _tensors(folder, "inputs", session.get_inputs()), _tensors(folder, "outputs", session.get_outputs())
    )
    return Model(folder, session, signature, device, engine)


def _open(folder: ModelFolder, device: Device) -> tuple[Any, Device, Engine | None]:
    """A session of the graph, or of the engine that was made of it for this very GPU."""
    if device.provider == TENSORRT_PROVIDER and not folder.settings.get("providers"):
        return _compile(folder, device)
    if not device.is_gpu or not device.plugin or folder.settings.get("providers"):
        return _session(folder, _options(device), device), device, None
    from .engine_files import choose

    choice = choose(folder, device.capability)
    if choice.engine is not None:
        try:
            session = _plugged(folder, choice.engine.graph, device)
            return session, replace(device, engine=choice.said), choice.engine
        except GpuUnusable:
            raise
        except Exception as error:
            choice = choice.without(plain(error))
    try:
        return _plugged(folder, folder.graph, device), replace(device, engine=choice.said), None
    except GpuUnusable:
        raise
    except Exception as error:
        raise _unusable(folder, device, error) from error


def _compile(folder: ModelFolder, device: Device) -> tuple[Any, Device, Engine | None]:
    """For the sizes that the image names; where TensorRT takes but parts of the graph, for those that it meets."""
    from .tensorrt import compiled

    how = compiled(folder, device.engine_cache)
    try:
        session = _session(folder, _options(device), device.told(how.options))
    except GpuUnusable as error:
        if not how.is_refused(error):
            raise
        how = how.without_sizes()
        session = _session(folder, _options(device), device.told(how.options))
    return session, replace(device, engine=how.said), how.engine


def _plugged(folder: ModelFolder, graph: Path, device: Device) -> Any:
    """Raises GpuUnusable where the provider cannot be had, and what onnxruntime raises of the graph."""
    from ..gpu.plugin import PluginUnusable, add_to

    options = _options(device)
    try:
        add_to(options, device.provider, Path(onnxruntime.__file__).parent.parent / device.plugin, dict(device.options))
    except PluginUnusable as error:
        raise _off_the_gpu(folder, device, str(error)) from error
    session = onnxruntime.InferenceSession(str(graph), options, enable_fallback=0)
    if session.get_providers()[0] != device.provider:
        raise _off_the_gpu(folder, device, f"{device.provider} takes nothing of it")
    return session


def _options(device: Device) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.run_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _session(folder: ModelFolder, options: Any, device: Device) -> Any:
    """On the provider that is wanted, or not at all: onnxruntime itself would go on with the CPU."""
    said = folder.settings.get("providers")
    if device.is_gpu and not said:
        return _on_gpu(folder, options, device)
    wanted = [str(name) for name in said or [CPU_PROVIDER]]
    absent = [name for name in wanted if name not in onnxruntime.get_available_providers()]
    if absent:
        raise ModelUnusable(f"Model '{folder.name}' asks for {absent[0]}, which this onnxruntime does not have.")
    try:
        session = onnxruntime.InferenceSession(str(folder.graph), options, providers=wanted, enable_fallback=0)
    except Exception as error:
        raise _unusable(folder, CPU, error) from error
    if session.get_providers()[0] != wanted[0]:
        raise ModelUnusable(f"Model '{folder.name}' asks for {wanted[0]}, which cannot be used on this machine.")
    return session


def _on_gpu(folder: ModelFolder, options: Any, device: Device) -> Any:
    from ..gpu.session import NotOnGpu, open_session

    try:
        return open_session(folder.graph, options, {device.provider: device.options, **device.below})
    except NotOnGpu as error:
        raise _off_the_gpu(folder, device, str(error)) from error
    except Exception as error:
        raise _unusable(folder, device, error) from error


def _unusable(folder: ModelFolder, device: Device, error: Exception) -> ModelUnusable | GpuUnusable:
    if device.is_gpu and type(error).__name__ not in _GRAPH_ERRORS:
        return _off_the_gpu(folder, device, plain(error))
    return ModelUnusable(f"Model '{folder.name}' ({folder.graph}) cannot be loaded: {plain(error)}")


def _off_the_gpu(folder: ModelFolder, device: Device, why: str) -> GpuUnusable:
    advice = "look at the libraries of the image and the driver of the machine (docs/gpu.md)"
    return GpuUnusable(f"Model '{folder.name}' cannot be loaded on {device.name}: {why}", advice)


def _tensors(folder: ModelFolder, kind: str, nodes: list[Any]) -> tuple[Tensor, ...]:
    found = {node.name: _tensor(folder, kind, node) for node in nodes}
    declared = folder.declared(kind)
    if declared is None:
        return tuple(found.values())
    for tensor in declared:
        real = found.get(tensor.graph_name)
        if real is None or real.datatype != tensor.datatype or len(real.shape) != len(tensor.shape):
            what = "does not have it" if real is None else f"has {real.datatype} {real.protocol_shape}"
            raise ModelUnusable(
                f"Model '{folder.name}': mbuild.json declares {kind[:-1]} '{tensor.name}' as {tensor.datatype} "
                f"{tensor.protocol_shape}, the graph {what}."
            )
    if kind == "inputs" and len(declared) != len(found):
        raise ModelUnusable(f"Model '{folder.name}': mbuild.json does not declare all inputs of the graph.")
    return tuple(declared)


def _tensor(folder: ModelFolder, kind: str, node: Any) -> Tensor:
    element = re.fullmatch(r"tensor\((\w+)\)", node.type)
    datatype = _DATATYPES.get(element[1]) if element else None
    if datatype is None:
        raise ModelUnusable(
            f"Model '{folder.name}': {kind[:-1]} '{node.name}' is a {node.type}, "
            "which the Open Inference Protocol cannot carry."
        )
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else str(dim or "") for dim in node.shape)
    return Tensor(name=node.name, graph_name=node.name, datatype=datatype, shape=shape)


def _array(value: Any) -> Array:
    if value.element_type() != _BFLOAT16:
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    content = ctypes.string_at(value.data_ptr(), 2 * int(np.prod(shape, dtype=np.int64)))
    return np.frombuffer(content, DTYPES["BF16"]).reshape(shape)
