"""A graph in onnxruntime, as Triton's python backend asks it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from .batches import Array, Feeds, Refused

# What onnxruntime raises when a graph cannot take what it was fed.
_INPUT_ERRORS = ("InvalidArgument", "Fail", "RuntimeException", "NotImplemented", "InvalidGraph")
_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |^.*Status Message: |\S*/\S+\.(?:cc|h|cpp):\d+ ", re.DOTALL
)


class Graph:
    """Tensors go in and out by the names that clients see; ``mbuild.json`` says where the graph has others."""

    def __init__(self, home: Path, version: str, gpu: int | None = None) -> None:
        """``gpu`` is the number of the GPU to run on. Raises where the graph would run elsewhere."""
        renames = json.loads((home / "mbuild.json").read_bytes())["renames"]
        self._inputs: dict[str, str] = renames["inputs"]
        self._outputs: dict[str, str] = renames["outputs"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more lose as soon as another processor is busy (measured)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        place = str(home / version / "model.onnx")
        self._session = _session(place, options, gpu)
        self._strings = {each.name for each in self._session.get_inputs() if each.type == "tensor(string)"}

    def run(self, feeds: Feeds, wanted: list[str]) -> list[Array]:
        """Raises Refused."""
        named = {self._inputs.get(name, name): array for name, array in feeds.items()}
        try:
            fed = {name: _texts(array) if name in self._strings else array for name, array in named.items()}
            results: list[Array] = self._session.run([self._outputs.get(name, name) for name in wanted], fed)
        except UnicodeDecodeError as error:
            raise Refused(f"a BYTES tensor is not UTF-8: {error}", is_input=True) from error
        except Exception as error:
            is_input = type(error).__name__ in _INPUT_ERRORS
            text = " ".join(_NOISE.sub("", str(error)).split()) or type(error).__name__
            raise Refused(f"the model could not compute these inputs: {text}", is_input=is_input) from error
        return results


def _session(place: str, options: Any, gpu: int | None) -> Any:
    if gpu is None:
        return onnxruntime.InferenceSession(place, options, providers=["CPUExecutionProvider"])
    from .gpu_session import open_session  # nothing of it is imported in an image for processors

    return open_session(place, options, gpu)


def example(home: Path, inputs: list[str]) -> Feeds:
    """The inputs of the smallest golden case that has a row; nothing where there is none."""
    for path in sorted((home / "golden").glob("*.npz"), key=lambda path: (path.stat().st_size, path.name)):
        with np.load(path, allow_pickle=False) as members:
            feeds = {name: members[f"input:{name}"] for name in inputs}
        if all(array.shape[0] for array in feeds.values()) and len({len(array) for array in feeds.values()}) == 1:
            return {name: array.astype(object) if array.dtype.kind in "SU" else array for name, array in feeds.items()}
    return {}


def _texts(array: Array) -> Array:
    texts = np.empty(array.shape, object)
    texts.ravel()[:] = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    return texts
