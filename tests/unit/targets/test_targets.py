"""What each target asks for."""

from __future__ import annotations

import pytest

from builder.targets import TARGETS


@pytest.mark.parametrize("python", ["3.11", "3.11.2", "3.12", "3.13.5", "3.14"])
def test_every_python_of_an_upstream_base_has_one_pin_of_each_wheel(python: str) -> None:
    pins = dict(pin.split("==") for pin in TARGETS["cpu"].pins(python))
    old = python.startswith("3.11")
    assert pins == {"numpy": "2.4.6" if old else "2.5.5", "onnxruntime": "1.31.1", "orjson": "3.13.0"}
