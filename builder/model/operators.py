"""The operators of a graph, and what onnxruntime may make of them when it loads it: what of a runtime a model needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Operator(NamedTuple):
    """``domain`` is empty for ai.onnx. Written as ``Conv``, or ``com.microsoft:FusedConv``."""

    domain: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Operator:
        domain, _, name = text.rpartition(":")
        return cls(domain, name)

    def __str__(self) -> str:
        return f"{self.domain}:{self.name}" if self.domain else self.name


Nodes = Mapping[Operator, tuple[str, ...]]
"""The names of nodes by what they compute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operators:
    """``nodes`` are those of the graph, of the graphs inside it and of its functions; ``opsets`` the version of each
    domain. ``fused`` are operators that the graph does not have, and that onnxruntime may put in the place of its nodes
    when it loads it."""

    nodes: Nodes = field(default_factory=dict)
    fused: Nodes = field(default_factory=dict)
    opsets: Mapping[str, int] = field(default_factory=dict)


NO_OPERATORS = Operators()


def together(several: Iterable[Operators]) -> Operators:
    """The operators of several graphs, each of its own opsets: nothing is said of those."""
    graphs = tuple(several)
    return Operators(nodes=_joined(one.nodes for one in graphs), fused=_joined(one.fused for one in graphs))


def _joined(several: Iterable[Nodes]) -> Nodes:
    found: dict[Operator, tuple[str, ...]] = {}
    for nodes in several:
        for operator, names in nodes.items():
            found[operator] = found.get(operator, ()) + names
    return found
