"""onnxruntime's messages, as clients read them."""

from __future__ import annotations

import pytest

from builder.serve.models.complaints import plain

_CODE = "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : "
_AT = "Non-zero status code returned while running {} node. Name:'{}' Status Message: "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"{_CODE}Got invalid dimensions for input: x", "Got invalid dimensions for input: x"),
        (
            f"{_CODE}{_AT.format('Expand', 'n')}invalid expand shape",
            "invalid expand shape (at Expand n)",
        ),
        (
            f"{_CODE}{_AT.format('Gather', '')}/o/core/gather.cc:169 void onnx::Check() idx=9 must be\n within [0,3]",
            "void onnx::Check() idx=9 must be within [0,3] (at Gather)",
        ),
        (f"{_AT.format('If', 'outer')}{_AT.format('Add', '/layer/Add')}1 by 2", "1 by 2 (at Add /layer/Add)"),
        ("x" * 9000, "x" * 500),
    ],
)
def test_codes_and_places_are_left_out(said: str, told: str) -> None:
    assert plain(RuntimeError(said)) == told


def test_the_node_is_said_however_long_the_message_is() -> None:
    said = plain(RuntimeError(f"{_AT.format('Add', 'n' * 700)}{'y' * 900}"))
    assert len(said) == 500
    assert plain(RuntimeError(f"{_AT.format('Add', 'sum')}{'y' * 900}")).endswith("y (at Add sum)")
