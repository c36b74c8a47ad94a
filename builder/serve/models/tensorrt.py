"""Full TensorRT, which makes an engine of the graph as the server starts: what its provider is told of a model
(onnxruntime, "TensorRT Execution Provider"), from the index that mbuild wrote beside the graph.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .engine_files import Engine, read_index, sizes_of
from .model_folder import ModelFolder, ModelUnusable

_FLAGS = {"fp16": "trt_fp16_enable", "bf16": "trt_bf16_enable", "int8": "trt_int8_enable"}
"""Which TensorRT wants for graphs in these types; that of 8 bits means QuantizeLinear, as no calibration is given."""
_SEPARATORS = frozenset(":,")
_WITHOUT_PROFILE = "with associated profiles"
"""onnxruntime's words where a part of the graph begins at a tensor that is no input of the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """How a model becomes an engine: ``options`` of the provider, ``said`` for people; ``engine`` knows the sizes, and
    is None where TensorRT finds them out itself, request by request."""

    options: Mapping[str, str] = field(default_factory=dict)
    said: str = "TensorRT compiles the ONNX when the server starts"
    engine: Engine | None = None

    def is_refused(self, error: Exception) -> bool:
        """Whether these sizes are why a session cannot be made."""
        return self.engine is not None and _WITHOUT_PROFILE in str(error)

    def without_sizes(self) -> Compiled:
        """The same for a graph of which TensorRT takes parts."""
        left = {name: value for name, value in self.options.items() if not name.startswith("trt_profile_")}
        return Compiled(options=left, said=f"{self.said}, parts of it, and again for new sizes")


def compiled(folder: ModelFolder, cache: str) -> Compiled:
    """Raises ModelUnusable where the index is not as expected, or ``cache`` cannot be written."""
    try:
        return read_index(folder, lambda index: _compiled(folder, index, cache))
    except FileNotFoundError:
        return Compiled()


def _compiled(folder: ModelFolder, index: Mapping[str, Any], cache: str) -> Compiled:
    precision, sizes = str(index["precision"]), sizes_of(index)
    flag = _FLAGS.get(precision)
    options = {flag: "1"} if flag else {}
    said = f"{Compiled().said} ({precision})"
    if cache:
        place = _writable(Path(cache) / f"{folder.name}-{_key(index)}")
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": place}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": place}
        said = f"{said} and keeps that in {place}"
    if not sizes or any(_SEPARATORS & set(name) for name in sizes):
        return Compiled(options=options, said=said)
    for kind in ("min", "opt", "max"):
        options[f"trt_profile_{kind}_shapes"] = _shapes(index["inputs"], kind)
    return Compiled(options=options, said=said, engine=Engine(graph=folder.graph, about=said, sizes=sizes))


def _shapes(inputs: Mapping[str, Any], kind: str) -> str:
    """``ids:1x8,mask:1x8``."""
    return ",".join(f"{name}:{'x'.join(str(int(size)) for size in each[kind])}" for name, each in inputs.items())


def _key(index: Mapping[str, Any]) -> str:
    """Of the graph with its weights, sizes and precision. onnxruntime names an engine in its cache by the names in the
    graph alone, and would take that of other weights."""
    return hashlib.sha256(json.dumps({"model": index["model"], **index}, sort_keys=True).encode()).hexdigest()[:16]


def _writable(place: Path) -> str:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelUnusable(f"MBUILD_GPU_ENGINE_CACHE: {place} cannot be made: {error.strerror}.") from None
    if not os.access(place, os.W_OK | os.X_OK):
        raise ModelUnusable(f"MBUILD_GPU_ENGINE_CACHE: {place} cannot be written.")
    return str(place)
