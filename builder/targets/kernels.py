"""Which operators an onnxruntime has: its schemas and kernels, as its wheel told them (scripts/onnxruntime-kernels).

``kernels/onnxruntime-gpu-1.28.0.json`` has a line for each operator: ``"Abs": "6-12 13-"`` are the versions of its
schema that there are kernels for, up to the next and open to the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builder.model.operators import Operator, Operators

_TABLES = Path(__file__).resolve().parent / "kernels"

Kernels = Mapping[Operator, tuple[tuple[int, int], ...]]
"""First and last version of the schema that a kernel is for; last 0: open."""

_WEIGHT = Operator("", "Constant")
"""Is a weight once a graph is loaded, and never runs."""


@dataclass(frozen=True, kw_only=True)
class RuntimeOperators:
    """Of ``runtime``, an exact pin: its kernels for ``cpu`` and ``cuda``, the versions of the ``schemas`` that it
    knows, and the operators that it replaces by what they are made of where it has no kernel (``functions``)."""

    runtime: str
    cpu: Kernels
    cuda: Kernels
    schemas: Mapping[Operator, tuple[int, ...]]
    functions: Set[Operator]

    @property
    def known(self) -> Set[Operator]:
        """Those that some provider runs, and those that are weights once a graph is loaded."""
        return self.cpu.keys() | self.cuda.keys() | {_WEIGHT}

    @property
    def name(self) -> str:
        """For people: ``onnxruntime-gpu 1.28.0``."""
        return self.runtime.replace("==", " ")

    def missing(self, operators: Operators, operator: Operator) -> str:
        """Why it cannot run that operator of a graph, or nothing."""
        opset = operators.opsets.get(operator.domain)
        if opset is None:
            return ""
        if operator not in self.schemas:
            return f"it knows no {operator}"
        since = self._since(operator, opset)
        if not since:
            return f"{operator} came with opset {self.schemas[operator][0]}, and the model is of opset {opset}"
        runs = operator == _WEIGHT or operator in self.functions
        if runs or _covers(self.cpu, operator, since) or _covers(self.cuda, operator, since):
            return ""
        return f"it knows {operator} as of opset {since}, and has no kernel for it"

    def on_cpu(self, operators: Operators) -> tuple[str, ...]:
        """The nodes that have no CUDA kernel, whatever types they work on. A node without a kernel anywhere is
        replaced by others, of which nothing is said."""
        found = []
        for operator, names in operators.nodes.items():
            since = self._since(operator, operators.opsets.get(operator.domain, 0))
            if since and _covers(self.cpu, operator, since) and not _covers(self.cuda, operator, since):
                found += [f"{operator} {name}" for name in names]
        return tuple(found)

    def _since(self, operator: Operator, opset: int) -> int:
        """The version of the schema that holds in ``opset``; 0 where there is none yet."""
        return max((since for since in self.schemas.get(operator, ()) if since <= opset), default=0)


def _covers(kernels: Kernels, operator: Operator, since: int) -> bool:
    """As onnxruntime's kernel_registry.cc has it: a kernel that is open to the end is for the version that it begins
    with, until somebody looked at the next."""
    return any(first == since or first < since <= last for first, last in kernels.get(operator, ()))


@cache
def runtime_operators(runtime: str) -> RuntimeOperators:
    """Of an exact pin such as ``onnxruntime-gpu==1.28.0``."""
    read = json.loads((_TABLES / f"{runtime.replace('==', '-')}.json").read_bytes())
    return RuntimeOperators(
        runtime=runtime,
        cpu=_kernels(read["cpu"]),
        cuda=_kernels(read["cuda"]),
        schemas={Operator.parse(name): tuple(map(int, text.split())) for name, text in read["schemas"].items()},
        functions=frozenset(map(Operator.parse, read["functions"])),
    )


def _kernels(table: Mapping[str, str]) -> dict[Operator, tuple[tuple[int, int], ...]]:
    return {Operator.parse(name): tuple(map(_range, text.split())) for name, text in table.items()}


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or 0)
