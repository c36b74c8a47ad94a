"""Every datatype there and back, by tritonclient: edges of its range, empty and large tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as by_http
from tritonclient.utils import triton_to_np_dtype

from builder.errors import UnsupportedModel
from builder.servers.triton import TritonServer
from tests.contract.server.protocol.endpoint import Endpoint, outputs, tensor
from tests.support.onnx_models import DATATYPES
from tests.support.protocol_models import place_what_triton_cannot_serve
from tests.support.triton import packed_model

NUMBERS = [name for name in DATATYPES if name not in ("BYTES", "BF16")]
STRINGS = np.array([["", "plain", 'quote " and \\'], ["zero \0 inside", "Übergröße", "模型 🙂"]], dtype=object)


@pytest.fixture(scope="module")
def http(server: Endpoint) -> Iterator[by_http.InferenceServerClient]:
    with by_http.InferenceServerClient(server.address) as client:
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


def there_and_back(client: by_http.InferenceServerClient, datatype: str, array: Any, *, binary: bool = True) -> Any:
    given = by_http.InferInput("x", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    asked = [by_http.InferRequestedOutput("y", binary_data=binary)]
    return client.infer(f"identity_{datatype}", [given], outputs=asked).as_numpy("y")


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (5, 0)], ids=str)
@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_in_binary(http: by_http.InferenceServerClient, datatype: str, shape: tuple[int, ...]) -> None:
    array = sample(datatype, shape)
    answer = there_and_back(http, datatype, array)
    assert (answer.dtype, answer.shape) == (array.dtype, shape)
    np.testing.assert_array_equal(answer, array)


@pytest.mark.parametrize("shape", [(2, 3), (5, 0)], ids=str)
@pytest.mark.parametrize("datatype", [name for name in NUMBERS if name != "FP16"])
def test_numbers_in_json(http: by_http.InferenceServerClient, datatype: str, shape: tuple[int, ...]) -> None:
    array = sample(datatype, shape)
    np.testing.assert_array_equal(there_and_back(http, datatype, array, binary=False), array)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_text_of_any_content(http: by_http.InferenceServerClient, binary: bool) -> None:
    answer = there_and_back(http, "BYTES", STRINGS, binary=binary)
    found = [[item.decode() if isinstance(item, bytes) else item for item in row] for row in answer]
    assert found == STRINGS.tolist()


def test_half_precision_has_no_json_form(server: Endpoint) -> None:
    answer = server.infer("identity_FP16", {"inputs": [tensor("x", "FP16", [1, 2], data=[1, 2])]})
    assert answer.status == 400 and "FP16" in answer.error
    given = tensor("x", "FP16", [1, 2], parameters={"binary_data_size": 4})
    answer = server.infer_binary("identity_FP16", {"inputs": [given]}, bytes(4))
    assert answer.status == 400 and "FP16" in answer.error


def test_nan_and_infinities_in_json(server: Endpoint) -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[NaN,Infinity,-Infinity]}]}'
    assert b"[NaN,Infinity,-Infinity]" in server.infer("line", body).body


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("UINT64", 2**64 - 1), ("INT64", -(2**63)), ("FP64", 1.7976931348623157e308), ("FP64", 5e-324), ("FP64", 0.1)],
)
def test_json_keeps_every_digit(server: Endpoint, datatype: str, value: Any) -> None:
    answer = server.infer(f"identity_{datatype}", {"inputs": [tensor("x", datatype, [1, 1], data=[value])]})
    assert outputs(answer)["y"]["data"] == [value]


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 7), ("FP64", -1), ("FP32", 1e-60)])
def test_numbers_that_are_written_otherwise(server: Endpoint, datatype: str, value: Any) -> None:
    answer = server.infer(f"identity_{datatype}", {"inputs": [tensor("x", datatype, [1, 1], data=[value])]})
    assert outputs(answer)["y"]["data"] == pytest.approx([value])


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("UINT8", 256), ("INT8", 128), ("INT16", 40_000), ("INT32", 2**31), ("UINT32", 2**32), ("FP32", 1e39)],
)
def test_numbers_outside_their_range(server: Endpoint, datatype: str, value: Any) -> None:
    answer = server.infer(f"identity_{datatype}", {"inputs": [tensor("x", datatype, [1, 1], data=[value])]})
    assert answer.status == server.differs("range", triton=200, here=400)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        *(("UINT64", 2**64), ("INT64", 2**63), ("UINT8", -1), ("INT32", 1.0), ("INT8", True)),
        *(("BOOL", 1), ("BYTES", 5), ("BYTES", "\ud800")),
    ],
)
def test_values_of_another_type(server: Endpoint, datatype: str, value: Any) -> None:
    answer = server.infer(f"identity_{datatype}", {"inputs": [tensor("x", datatype, [1, 1], data=[value])]})
    assert answer.status == server.differs("wrong-request", triton=500, here=400)


def test_no_dims(http_endpoint: Endpoint) -> None:
    http_endpoint.alone("not-for-triton")
    for data in ([-5], [7]):
        answer = http_endpoint.infer("scalar", {"inputs": [tensor("x", "INT64", [], data=data)]})
        assert (outputs(answer)["y"]["shape"], outputs(answer)["y"]["data"]) == ([], data)


def test_bfloat16(http_endpoint: Endpoint) -> None:
    http_endpoint.alone("not-for-triton")
    array = np.array([[1.5, -2.0, 0.0, 128.0]], ml_dtypes.bfloat16)
    with by_http.InferenceServerClient(http_endpoint.address) as client:
        answer = there_and_back(client, "BF16", array)
    np.testing.assert_array_equal(answer.astype(np.float32), array.astype(np.float32))


@pytest.mark.parametrize("name", ["scalar", "identity_BF16"])
def test_what_triton_cannot_serve_is_not_built_for_it(tmp_path: Path, name: str) -> None:
    place_what_triton_cannot_serve(tmp_path)
    with pytest.raises(UnsupportedModel):
        TritonServer().check(packed_model(tmp_path / name))
