"""What an environment may ask for, and what its key stands for."""

from __future__ import annotations

import pytest

from builder.convert.envs import EnvironmentSpec, UnpinnedRequirement
from builder.convert.reference import REFERENCE, tools


@pytest.mark.parametrize(
    "text", ["numpy", "numpy>=2", "numpy==2.*", "numpy==2.4,<3", "numpy @ https://x.example/a.whl", "?"]
)
def test_only_exact_versions_are_taken(text: str) -> None:
    with pytest.raises(UnpinnedRequirement):
        EnvironmentSpec(name="x", requirements=(text,))


def test_the_key_is_the_pins_in_any_order_and_not_the_name() -> None:
    one = EnvironmentSpec(name="x", requirements=("a==1", "b==2"))
    assert one.key == EnvironmentSpec(name="y", requirements=("b==2", "a==1")).key
    assert one.key != EnvironmentSpec(name="x", requirements=("a==1", "b==3")).key


def test_a_lock_names_who_answered() -> None:
    assert tools()["reference.onnxruntime"] in dict(pin.split("==") for pin in REFERENCE.requirements).values()
