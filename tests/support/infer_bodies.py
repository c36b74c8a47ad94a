"""Hypothesis strategies for inference requests that are almost right."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES", "BF16"),
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
SHAPES = st.lists(st.integers(0, 4), max_size=3) | st.lists(st.integers(-(2**65), 2**65), max_size=3) | JSON_VALUES


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": draw(st.sampled_from(["x", "x", "x", "y"]) | JSON_VALUES),
        "datatype": draw(st.sampled_from(DATATYPES) | JSON_VALUES),
        "shape": draw(SHAPES),
    }
    if draw(st.booleans()):
        entry["data"] = draw(JSON_VALUES | st.lists(st.integers(-3, 300) | st.floats(width=32), max_size=8))
    if draw(st.booleans()):
        sizes = st.integers(-5, 80) | JSON_VALUES
        entry["parameters"] = draw(st.fixed_dictionaries({"binary_data_size": sizes}) | JSON_VALUES)
    return entry


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {"inputs": draw(st.lists(inputs(), max_size=2) | JSON_VALUES)}
    for name in ("outputs", "parameters", "id"):
        if draw(st.integers(0, 3)) == 0:
            body[name] = draw(JSON_VALUES | st.lists(st.fixed_dictionaries({"name": JSON_VALUES}), max_size=2))
    return body
