"""Where a wrong ONNX model departs from its source: pure comparison of the values between inputs and outputs.

The source framework gives the values that its own operators compute, in no known relation to the graph's: an exporter
fuses some and splits others. A value of the graph is *confirmed* where the source computes the same numbers, or where
something that is computed from it is confirmed. The first node that is not is where the wrong numbers begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from builder.model.golden import Array

_STEPS = (1e-4, 1e-5, 2e-6)
"""How far two values may be off and still be the same, relative to the largest of a tensor; the wider first, since a
node that departs by more is the surer find."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A node of a graph in topological order. ``inputs`` and ``outputs`` are names of values, without empty ones."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.operator} {self.name or ', '.join(self.outputs)!r}"


@dataclass(frozen=True, kw_only=True)
class Values:
    """Of one case: the graph's by name, its weights by name, and the bags of the source's (values and weights)."""

    graph: Mapping[str, Array]
    weights: Mapping[str, Array]
    source: Sequence[Array]
    source_weights: Sequence[Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class Departure:
    """``node`` is the first that departs; ``weight`` is one of its weights that the source does not have; ``off`` the
    distance of its output to the nearest value of the source with as many elements, None where there is none."""

    node: GraphNode
    weight: str = ""
    off: float | None = None

    def __str__(self) -> str:
        text = f"{self.node}"
        if self.weight:
            text += f", whose weight {self.weight!r} is none of the source's"
        return text + (f" (its output is {self.off:.3g} off)" if self.off is not None else "")


def find_departure(nodes: Sequence[GraphNode], values: Values) -> Departure | None:
    """The first node whose output departs; None where every node is confirmed."""
    bag = [_flat(array) for array in values.source if _tells(array)]
    for step in _STEPS:
        confirmed = _confirmed(nodes, values.graph, bag, step)
        departed = [node for node in nodes if any(name in confirmed and not confirmed[name] for name in node.outputs)]
        if departed:
            return _described(departed, confirmed, values, bag)
    return None


def _described(departed: list[GraphNode], confirmed: Mapping[str, bool], values: Values, bag: list[Array]) -> Departure:
    weights = [np.sort(_flat(array)) for array in values.source_weights]
    told = {name: array for name, array in values.weights.items() if weights and _tells(array)}
    strange = {name for name, array in told.items() if not _is_among(array, weights)}
    node = _with_strange_weight(departed, strange) or departed[0]
    output = next(name for name in node.outputs if name in confirmed and not confirmed[name])
    odd = [name for name in node.inputs if name in strange]
    # All of several: another operator was folded into them, as a batch norm is into a convolution.
    weight = odd[0] if len(odd) == 1 else ""
    return Departure(node=node, weight=weight, off=_nearest(values.graph[output], bag))


def _confirmed(
    nodes: Sequence[GraphNode], graph: Mapping[str, Array], bag: list[Array], step: float
) -> dict[str, bool]:
    """For each value that tells something. What is computed from it counts, so the nodes are read from the end."""
    confirmed: dict[str, bool] = {}
    follows: dict[str, bool] = {}
    for node in reversed(nodes):
        for name in node.outputs:
            if name in graph and _tells(graph[name]):
                confirmed[name] = follows.get(name, False) or _matches(graph[name], bag, step)
        if any(confirmed.get(name, follows.get(name, False)) for name in node.outputs):
            follows |= dict.fromkeys(node.inputs, True)
    return confirmed


def _with_strange_weight(departed: list[GraphNode], strange: set[str]) -> GraphNode | None:
    """The first that departs, or one that only adds to it: a sum's bias is read after a product that has no equal in a
    source that computes both at once."""
    first, *rest = departed
    if strange.intersection(first.inputs):
        return first
    follower = next((node for node in rest if set(first.outputs) & set(node.inputs)), None)
    return follower if follower and strange.intersection(follower.inputs) else None


def _tells(array: Array) -> bool:
    """Whether numbers are in it that could be told from others."""
    if array.dtype.kind != "f" or array.size < 2 or not np.isfinite(array).all():
        return False
    return bool(array.max() != array.min())


def _flat(array: Array) -> Array:
    return np.asarray(array, dtype=np.float64).ravel()


def _matches(array: Array, bag: list[Array], step: float) -> bool:
    flat = _flat(array)
    allowed = step * (0.1 + float(np.abs(flat).max()))
    return any(other.size == flat.size and bool(np.abs(other - flat).max() <= allowed) for other in bag)


def _is_among(weight: Array, weights: list[Array]) -> bool:
    """In whatever layout; a weight into which another was folded is in no bag."""
    flat = np.sort(_flat(weight))
    return any(other.size == flat.size and np.allclose(other, flat, rtol=1e-6, atol=1e-8) for other in weights)


def _nearest(array: Array, bag: list[Array]) -> float | None:
    flat = _flat(array)
    return min((float(np.abs(other - flat).max()) for other in bag if other.size == flat.size), default=None)
