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

from builder.model.operators import Operator

_TABLES = Path(__file__).resolve().parent / "kernels"


@dataclass(frozen=True, kw_only=True)
class RuntimeOperators:
    """``cpu`` and ``cuda`` are the providers' kernels (first and last version of the schema, last 0: open), ``schemas``
    the versions of the schemas that it knows."""

    runtime: str
    cpu: Mapping[Operator, tuple[tuple[int, int], ...]]
    cuda: Mapping[Operator, tuple[tuple[int, int], ...]]
    schemas: Mapping[Operator, tuple[int, ...]]

    @property
    def known(self) -> Set[Operator]:
        """Those that some provider runs, and those that are weights once a graph is loaded."""
        return self.cpu.keys() | self.cuda.keys() | {Operator("", "Constant")}


@cache
def runtime_operators(runtime: str) -> RuntimeOperators:
    """Of an exact pin such as ``onnxruntime-gpu==1.28.0``."""
    read = json.loads((_TABLES / f"{runtime.replace('==', '-')}.json").read_bytes())
    return RuntimeOperators(
        runtime=runtime,
        cpu=_kernels(read["cpu"]),
        cuda=_kernels(read["cuda"]),
        schemas={Operator.parse(name): tuple(map(int, text.split())) for name, text in read["schemas"].items()},
    )


def _kernels(table: Mapping[str, str]) -> dict[Operator, tuple[tuple[int, int], ...]]:
    return {Operator.parse(name): tuple(map(_range, text.split())) for name, text in table.items()}


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or 0)
