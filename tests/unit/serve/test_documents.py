"""A model's config as Triton describes it: what is a batch, and what is left whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder.serve.device import Device
from builder.serve.models.batching import Batching
from builder.serve.protocol.codec import Signature
from builder.serve.protocol.documents import MOST_ROWS, config
from builder.serve.protocol.tensors import Tensor

Shape = tuple[int | str, ...]


def served(given: Shape, found: Shape, batching: Batching | None = None) -> Any:
    tensors = [
        Tensor(name=name, graph_name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in (("x", "BYTES", given), ("y", "FP32", found))
    ]
    model = SimpleNamespace(
        name="m",
        version="3",
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        file="model.onnx",
        provider="CUDAExecutionProvider",
        device=Device(provider="CUDAExecutionProvider"),
        most_rows=0,
        signature=Signature((tensors[0],), (tensors[1],)),
    )
    return SimpleNamespace(model=model, batching=batching, batching_said={"batching": "on" if batching else "off"})


def test_a_batch_dim_is_left_out() -> None:
    document = config(served(("n", 4), ("n", "k", 2)))
    assert document["max_batch_size"] == MOST_ROWS
    assert document["input"][0]["dims"] == [4]
    assert document["output"][0]["dims"] == [-1, 2]
    assert "dynamic_batching" not in document


def test_the_bound_of_the_batch_dim_is_told() -> None:
    bounded = served(("n", 4), ("n", 2))
    bounded.model.most_rows = 12
    assert config(bounded)["max_batch_size"] == 12


@pytest.mark.parametrize(
    ("given", "found"), [((2, 4), (2, 3)), (("n", 4), ("m", 3)), (("n", 4), ("n",)), ((), ("n", 2))], ids=str
)
def test_without_one_shapes_are_whole(given: Shape, found: Shape) -> None:
    document = config(served(given, found))
    assert document["max_batch_size"] == 0
    dims = [[dim if isinstance(dim, int) else -1 for dim in shape] for shape in (given, found)]
    assert [document["input"][0]["dims"], document["output"][0]["dims"]] == dims


def test_how_requests_are_put_together_is_said() -> None:
    batching = Batching(max_rows=8, delay_ns=2_000_000, preferred=(4, 8))
    said = config(served(("n", 4), ("n", 3), batching))["dynamic_batching"]
    assert (said["preferred_batch_size"], said["max_queue_delay_microseconds"]) == ([4, 8], 2000)


def test_types_version_and_device_are_tritons_words() -> None:
    document = config(served(("n", 4), ("n", 3)))
    assert (document["input"][0]["data_type"], document["output"][0]["data_type"]) == ("TYPE_STRING", "TYPE_FP32")
    assert document["version_policy"] == {"specific": {"versions": [3]}}
    assert document["instance_group"][0]["kind"] == "KIND_GPU"
    assert document["parameters"] == {"batching": {"string_value": "off"}}
