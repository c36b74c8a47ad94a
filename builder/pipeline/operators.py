"""Whether the target's onnxruntime runs what a graph computes, asked before anything is built; and where it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from builder.errors import UnsupportedModel
from builder.model.operators import Operators
from builder.targets import TARGETS, Target
from builder.targets.kernels import RuntimeOperators, runtime_operators

OLDEST_ADVISED = 13
"""Exporters still write it, and operators are mostly what they are today."""


class OperatorNotRun(UnsupportedModel):
    code = "operator-not-run"
    message = "{path}: {runtime}, on which the target {target} stands, cannot run the node {node!r}: {reason}"
    hint = "{instead}"


def require_operators(operators: Operators, entry: PurePosixPath, target: Target) -> None:
    """Raises OperatorNotRun for the first node of which it is certain."""
    runtime = runtime_operators(target.runtime)
    for operator, names in operators.nodes.items():
        if reason := runtime.missing(operators, operator):
            others = [name for name, one in TARGETS.items() if not _missing(one, operators)]
            raise OperatorNotRun(
                path=entry,
                target=target.name,
                runtime=runtime.name,
                node=names[0],
                reason=reason,
                instead=f"the model runs with --target {' or '.join(others)}"
                if others
                else "no target runs it: export the model with a lower opset or without that operator",
            )


def _missing(target: Target, operators: Operators) -> bool:
    runtime = runtime_operators(target.runtime)
    return any(runtime.missing(operators, operator) for operator in operators.nodes)


def cpu_remark(operators: Operators, target: Target) -> str:
    """Which nodes a session on the GPU runs on the CPU for want of a kernel, or nothing: onnxruntime does not say. Of
    TensorRT it is not known what it takes."""
    if target.is_compiled:
        return ""
    runtime = runtime_operators(target.runtime)
    found = runtime.on_cpu(operators) if runtime.cuda else ()
    if not found:
        return ""
    count = sum(map(len, operators.nodes.values()))
    share = (
        "none of its nodes runs on the GPU" if len(found) == count else f"{len(found)} of {count} nodes run on the CPU"
    )
    words = f"{share}: {runtime.name} has no CUDA kernel for them (the first: {found[0]})"
    opset, left = _better_opset(operators, runtime, len(found))
    return f"{words}; of opset {opset} it would be {left or 'none'}" if opset else words


def _better_opset(operators: Operators, runtime: RuntimeOperators, most: int) -> tuple[int, int]:
    """The latest of the earlier opsets in which the fewest nodes would run on the CPU, and how many; 0 where none is
    better."""
    best = 0
    for opset in range(operators.opsets.get("", 0) - 1, OLDEST_ADVISED - 1, -1):
        older = replace(operators, opsets={**operators.opsets, "": opset})
        if any(runtime.missing(older, operator) for operator in operators.nodes):
            break
        if (left := len(runtime.on_cpu(older))) < most:
            best, most = opset, left
    return best, most
