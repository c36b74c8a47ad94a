from __future__ import annotations

import pytest

from builder.model.operators import Operator
from builder.targets import TARGETS
from builder.targets.kernels import runtime_operators

GEMM = Operator("", "Gemm")


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_has_the_table_of_its_onnxruntime(target: str) -> None:
    (pin,) = (pin for pin in TARGETS[target].requirements if pin.startswith("onnxruntime"))
    table = runtime_operators(pin)
    assert table.runtime == pin
    assert (GEMM in table.cuda) == TARGETS[target].runtime.startswith("onnxruntime-gpu")
    assert table.cpu[GEMM] == ((7, 8), (9, 10), (11, 12), (13, 0))
    assert table.schemas[GEMM][-1] == 13
    assert {GEMM, Operator("", "Constant"), Operator("ai.onnx.ml", "TreeEnsemble")} <= table.known
