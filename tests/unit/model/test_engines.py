"""For which GPUs engines are made, for which sizes of inputs, and what an image says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.model.engines import (
    BATCH_ROWS,
    CapabilityRefused,
    EngineFile,
    Engines,
    InputSizes,
    input_sizes,
    parse_capabilities,
)
from builder.model.golden import GoldenCase
from builder.model.manifest import DimRange
from builder.model.signature import Datatype, Dim, Signature, TensorSpec
from builder.oci.digest import Digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("86,89,120", ("8.6", "8.9", "12.0")),
        ("12.0, sm_86", ("8.6", "12.0")),
        ("89,8.9", ("8.9",)),
        ("121", ("12.1",)),
        ("none", ()),
    ],
)
def test_capabilities_are_read_as_people_write_them(text: str, expected: tuple[str, ...]) -> None:
    assert parse_capabilities(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("90", "data centres"),
        ("100", "data centres"),
        ("86,10.0", "data centres"),
        ("75", "a part of all operators"),
        ("80", "its execution provider does not run on it"),
        ("61", "older than 7.5"),
        ("87", "has no code for it"),
        ("130", "has no code for it"),
        ("fast", "no compute capability"),
        ("", "no compute capability"),
        ("86,,89", "no compute capability"),
        ("٨٦", "no compute capability"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(CapabilityRefused, match=reason) as refused:
        parse_capabilities(text)
    assert "8.6, 8.9, 12.0, 12.1" in refused.value.advice


def signature(**inputs: tuple[Dim, ...]) -> Signature:
    specs = (TensorSpec(name=name, datatype=Datatype.FP32, shape=shape) for name, shape in inputs.items())
    return Signature(inputs=tuple(specs), outputs=())


def case(**shapes: tuple[int, ...]) -> GoldenCase:
    inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return GoldenCase(name="c", inputs=inputs, outputs={})


def sizes(found: tuple[InputSizes, ...]) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {one.name: (one.min, one.opt, one.max) for one in found}


def test_a_batch_begins_at_one_and_reaches_what_the_server_puts_together() -> None:
    found = input_sizes(signature(x=("n", 4)), (), [case(x=(2, 4)), case(x=(7, 4)), case(x=(2, 4))])
    assert sizes(found) == {"x": ((1, 4), (2, 4), (BATCH_ROWS, 4))}


def test_a_larger_batch_of_a_case_or_of_model_yaml_counts() -> None:
    assert sizes(input_sizes(signature(x=("n",)), (), [case(x=(100,))]))["x"][2] == (100,)
    assert sizes(input_sizes(signature(x=("n",)), (), [case(x=(1,))], rows=64))["x"][2] == (64,)


def test_other_dims_take_the_sizes_of_the_cases() -> None:
    cases = [case(ids=(1, 16)), case(ids=(2, 128)), case(ids=(2, 16))]
    found = input_sizes(signature(ids=("n", "length")), (), cases)
    assert sizes(found) == {"ids": ((1, 16), (2, 16), (BATCH_ROWS, 128))}


def test_model_yaml_decides_where_it_says_something() -> None:
    dims = [DimRange(name="n", min=1, opt=8, max=16), DimRange(name="length", min=4, opt=128, max=None)]
    found = input_sizes(signature(ids=("n", "length")), dims, [case(ids=(2, 300))])
    assert sizes(found) == {"ids": ((1, 4), (8, 128), (16, 300))}


def test_the_bound_that_a_model_tells_itself_is_not_its_usual_size() -> None:
    dims = [DimRange(name="length", min=1, opt=512, max=512, is_stated=False)]
    found = input_sizes(signature(ids=("n", "length")), dims, [case(ids=(1, 16))])
    assert sizes(found)["ids"] == ((1, 1), (1, 16), (BATCH_ROWS, 512))


def test_inputs_share_the_range_of_a_dim_and_fixed_ones_have_none() -> None:
    both = signature(a=("n", 2), b=("n", 3), c=(5,))
    found = input_sizes(both, (), [case(a=(1, 2), b=(1, 3), c=(5,)), case(a=(40, 2), b=(40, 3), c=(5,))])
    assert sizes(found) == {"a": ((1, 2), (40, 2), (40, 2)), "b": ((1, 3), (40, 3), (40, 3))}


def test_sizes_are_in_order_whatever_the_cases() -> None:
    for one in input_sizes(signature(x=("n", "m", 3)), (), [case(x=(0, 5, 3)), case(x=(3, 2, 3))]):
        assert all(low <= usual <= high for low, usual, high in zip(one.min, one.opt, one.max, strict=True))
        assert min(one.min) >= 1


def engines(graph: bytes = b"g") -> Engines:
    file = EngineFile(capability="8.6", path=Path("e"), digest=Digest.of(b"e"), size=1, graph=graph)
    return Engines(version="1.7.1.116", precision="fp32", sizes=(), files=(file,))


def test_the_index_names_each_file_with_its_digest() -> None:
    (one,) = engines().to_json()["engines"]  # type: ignore[misc,attr-defined]
    assert one == {
        "capability": "8.6",
        "graph": "1.7.1.116-sm86.onnx",
        "engine": "1.7.1.116-sm86.engine",
        "digest": str(Digest.of(b"e")),
        "size": 1,
    }


def test_the_key_covers_the_models_around_the_engines() -> None:
    assert engines().key == engines().key != engines(b"other").key
