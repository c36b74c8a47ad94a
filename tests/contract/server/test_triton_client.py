"""tritonclient works against the server unchanged (Open Inference Protocol v2 with Triton's extensions)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.support.onnx_models import DATATYPES

NUMBERS = [name for name in DATATYPES if name not in ("BYTES", "BF16")]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address, concurrency=2) as client:
        yield client


def sample(datatype: str, shape: tuple[int, ...]) -> Any:
    """Values that show byte order, sign and range."""
    dtype = np.dtype(triton_to_np_dtype(datatype))
    count = int(np.prod(shape))
    if dtype.kind == "b":
        return (np.arange(count) % 2 == 0).reshape(shape)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        edges = [limits.min, limits.max, 0, 1, limits.max // 3]
        return np.array([edges[i % 5] for i in range(count)], dtype).reshape(shape)
    return (np.arange(count) / 7 - 1).astype(dtype).reshape(shape)


def infer(client: triton.InferenceServerClient, model: str, datatype: str, array: Any, *, binary: bool) -> Any:
    tensor = triton.InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    asked = [triton.InferRequestedOutput("y", binary_data=binary)]
    return client.infer(model, [tensor], outputs=asked).as_numpy("y")


def test_the_server_describes_itself(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]


def test_models_describe_themselves(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("mlp") and client.is_model_ready("mlp", "1")
    metadata = client.get_model_metadata("mlp")
    assert metadata["versions"] == ["1"] and metadata["platform"] == "onnxruntime_onnx"
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]
    config = client.get_model_config("mlp")
    assert config["max_batch_size"] > 0
    assert (config["input"][0]["data_type"], config["input"][0]["dims"]) == ("TYPE_FP32", [4])
    assert client.get_model_config("identity_BYTES")["input"][0]["data_type"] == "TYPE_STRING"
    index = {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
    assert index["mlp"] == "READY"


def test_what_is_unknown_is_not_found(client: triton.InferenceServerClient) -> None:
    assert not client.is_model_ready("nowhere")
    assert not client.is_model_ready("mlp", "2")
    with pytest.raises(InferenceServerException, match="unknown model: 'nowhere'"):
        client.get_model_metadata("nowhere")


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (0, 4), (5, 0)], ids=str)
@pytest.mark.parametrize("datatype", NUMBERS)
def test_binary_tensors_come_back_as_they_went(
    client: triton.InferenceServerClient, datatype: str, shape: tuple[int, ...]
) -> None:
    array = sample(datatype, shape)
    answer = infer(client, f"identity_{datatype}", datatype, array, binary=True)
    assert answer.dtype == array.dtype and answer.shape == shape
    np.testing.assert_array_equal(answer, array)


@pytest.mark.parametrize("shape", [(2, 3), (0, 4)], ids=str)
@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_json_tensors_come_back_as_they_went(
    client: triton.InferenceServerClient, datatype: str, shape: tuple[int, ...]
) -> None:
    array = sample(datatype, shape)
    np.testing.assert_array_equal(infer(client, f"identity_{datatype}", datatype, array, binary=False), array)


def test_bfloat16_travels_in_binary(client: triton.InferenceServerClient) -> None:
    array = np.array([[1.5, -2.0, 0.0, 128.0]], ml_dtypes.bfloat16)
    answer = infer(client, "identity_BF16", "BF16", array, binary=True)
    np.testing.assert_array_equal(answer.astype(np.float32), array.astype(np.float32))


@pytest.mark.parametrize("binary", [True, False])
def test_strings_of_any_content(client: triton.InferenceServerClient, binary: bool) -> None:
    array = np.array([["", "plain", 'quote " and \\'], ["zero \0 inside", "Übergröße", "模型 🙂"]], dtype=object)
    answer = infer(client, "identity_BYTES", "BYTES", array, binary=binary)
    assert [[item.decode() if isinstance(item, bytes) else item for item in row] for row in answer] == array.tolist()


def test_a_scalar(client: triton.InferenceServerClient) -> None:
    for binary in (True, False):
        assert infer(client, "scalar", "INT64", np.array(-5), binary=binary) == -5


def two(binary: bool = True) -> list[triton.InferInput]:
    arrays = {
        "a": np.array([[1, 2], [3, 4]], np.float32),
        "b": np.array([[10, 20], [30, 40]], np.float32),
        "index": np.array([1], np.int64),
    }
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), "INT64" if name == "index" else "FP32")
        inputs.append(tensor.set_data_from_numpy(array, binary_data=binary and name != "b"))
    return inputs


def test_all_outputs_where_none_is_asked_for(client: triton.InferenceServerClient) -> None:
    result = client.infer("two", two(), request_id="tomorrow-7")
    assert result.get_response()["id"] == "tomorrow-7"
    np.testing.assert_array_equal(result.as_numpy("total"), [[11, 22], [33, 44]])
    np.testing.assert_array_equal(result.as_numpy("picked"), [[3, 4]])


def test_only_the_outputs_asked_for_each_in_its_form(client: triton.InferenceServerClient) -> None:
    asked = [
        triton.InferRequestedOutput("picked", binary_data=False),
        triton.InferRequestedOutput("total", binary_data=True),
    ]
    result = client.infer("two", two(binary=False), outputs=asked, model_version="1")
    outputs = result.get_response()["outputs"]
    assert [output["name"] for output in outputs] == ["picked", "total"]
    assert "data" in outputs[0] and outputs[1]["parameters"] == {"binary_data_size": 16}
    np.testing.assert_array_equal(result.as_numpy("total"), [[11, 22], [33, 44]])
    only = client.infer("two", two(), outputs=[triton.InferRequestedOutput("total")])
    assert only.as_numpy("picked") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(client: triton.InferenceServerClient, algorithm: str, binary: bool) -> None:
    array = np.arange(4000, dtype=np.float32).reshape(40, 100)
    tensor = triton.InferInput("x", [40, 100], "FP32").set_data_from_numpy(array, binary_data=binary)
    asked = [triton.InferRequestedOutput("y", binary_data=binary)]
    result = client.infer(
        "identity_FP32",
        [tensor],
        outputs=asked,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), array)


def test_renamed_tensors_and_dynamic_batch(client: triton.InferenceServerClient) -> None:
    for batch in (1, 5):
        array = np.ones((batch, 4), np.float32)
        tensor = triton.InferInput("features", [batch, 4], "FP32").set_data_from_numpy(array)
        probabilities = client.infer("mlp", [tensor]).as_numpy("probabilities")
        assert probabilities.shape == (batch, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_many_at_once(client: triton.InferenceServerClient) -> None:
    arrays = [np.full((2, 2), number, np.float32) for number in range(50)]
    tensors = [triton.InferInput("x", [2, 2], "FP32").set_data_from_numpy(array) for array in arrays]
    waiting = [client.async_infer("identity_FP32", [tensor]) for tensor in tensors]
    for array, answer in zip(arrays, waiting, strict=True):
        np.testing.assert_array_equal(answer.get_result().as_numpy("y"), array)


def test_statistics_count(client: triton.InferenceServerClient) -> None:
    before = client.get_inference_statistics("two")["model_stats"][0]["inference_stats"]["success"]["count"]
    client.infer("two", two())
    stats = client.get_inference_statistics("two", "1")["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == before + 1
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert len(client.get_inference_statistics()["model_stats"]) > 10


def test_errors_reach_the_client_as_messages(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("x", [2, 2], "FP64").set_data_from_numpy(np.zeros((2, 2)))
    with pytest.raises(InferenceServerException, match="input 'x': datatype is 'FP64', the model takes FP32"):
        client.infer("identity_FP32", [tensor])
