"""Engines beside a graph: which of them is for this GPU, and the sizes that it takes. Read without trust in it.

``NAME/VERSION/engines/index.json`` lists what mbuild compiled ahead of time; each engine is for one compute capability,
and has beside it the ONNX model around it, which is what onnxruntime opens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..http.answers import Refusal
from .model_folder import ModelFolder, ModelUnusable

if TYPE_CHECKING:
    from ..protocol.tensors import Array

SCHEMA = 1
_INDEX = "index.json"
_Read = TypeVar("_Read")

Bounds = tuple[tuple[int, int], ...]
"""Smallest and largest size of each dim."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """``sizes`` are of those inputs of the graph that have dynamic dims."""

    graph: Path
    about: str
    sizes: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def most_rows(self) -> int:
        """Of a batch; 0 where nothing bounds it."""
        return min((bounds[0][1] for bounds in self.sizes.values() if bounds), default=0)

    def check(self, model: str, feeds: Mapping[str, Array]) -> None:
        """Raises Refusal for inputs of other sizes: the engine has no code for them."""
        for name, bounds in self.sizes.items():
            shape = feeds[name].shape if name in feeds else ()
            for axis, (size, (least, most)) in enumerate(zip(shape, bounds, strict=False)):
                if not least <= size <= most:
                    allowed = str(least) if least == most else f"{least} to {most}"
                    what = f"input '{name}' of model '{model}' has {size} in dim {axis}"
                    raise Refusal(400, f"{what}; the engine for this GPU takes {allowed}", "BACKEND")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """``engine`` for this GPU, and in words what runs: also where there is none."""

    engine: Engine | None
    said: str

    def without(self, why: str) -> Choice:
        """The graph in place of the engine, which cannot be loaded."""
        return Choice(engine=None, said=f"the provider compiles the ONNX: the {self.said} cannot be loaded: {why}")


def choose(folder: ModelFolder, capability: tuple[int, int]) -> Choice:
    """Raises ModelUnusable where the index is not as expected."""
    place, wanted = folder.graph.parent / "engines", ".".join(map(str, capability))
    try:
        return read_index(folder, lambda index: _chosen(place, index, wanted))
    except FileNotFoundError:
        return Choice(engine=None, said="the provider compiles the ONNX: the image has no engines")


def read_index(folder: ModelFolder, read: Callable[[Mapping[str, Any]], _Read]) -> _Read:
    """What ``read`` makes of it. Raises FileNotFoundError where there is none, and ModelUnusable where it is not as
    expected."""
    file = folder.graph.parent / "engines" / _INDEX
    try:
        index = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ModelUnusable(f"{file} cannot be read: {error}.") from None
    try:
        if index["schema"] != SCHEMA:
            raise ValueError(f"schema {index['schema']!r} instead of {SCHEMA}")
        return read(index)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelUnusable(f"{file} is not as expected: {type(error).__name__}: {error}.") from None


def _chosen(place: Path, index: Mapping[str, Any], wanted: str) -> Choice:
    version, known = str(index["version"]), {str(each["capability"]): each for each in index["engines"]}
    if wanted not in known:
        there = f"the engines are for {', '.join(known)}, this GPU has {wanted}"
        return Choice(engine=None, said=f"the provider compiles the ONNX: {there}")
    about = f"engine of TensorRT-RTX {version} for {wanted} ({index['precision']})"
    sizes = sizes_of(index)
    graph = place / Path(str(known[wanted]["graph"])).name
    return Choice(engine=Engine(graph=graph, about=about, sizes=sizes), said=about)


def sizes_of(index: Mapping[str, Any]) -> dict[str, Bounds]:
    """The smallest and largest shapes of each input that has dynamic dims."""
    return {str(name): _bounds(each) for name, each in index["inputs"].items()}


def _bounds(sizes: Mapping[str, Any]) -> Bounds:
    return tuple((int(least), int(most)) for least, most in zip(sizes["min"], sizes["max"], strict=True))
