"""tritonclient as people use it, and as its own examples do: on the models ``simple``, ``simple_string`` and
``simple_identity`` (sum and difference of two rows of 16 numbers; the same with numbers as text; text as it is).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.contract.server.protocol.endpoint import Endpoint

ROW = np.arange(16, dtype=np.int32).reshape(1, 16)
ONES = np.ones((1, 16), np.int32)


@pytest.fixture(scope="module")
def client(server: Endpoint) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address, concurrency=4) as client:
        yield client


def rows(module: Any = triton, *, binary: bool = True) -> list[Any]:
    return [
        module.InferInput(name, [1, 16], "INT32").set_data_from_numpy(array, binary_data=binary)
        for name, array in (("INPUT0", ROW), ("INPUT1", ONES))
    ]


def check(result: Any) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), ROW + ONES)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), ROW - ONES)


def test_it_is_live_ready_and_described(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("simple") and client.is_model_ready("simple", "1")
    assert not client.is_model_ready("nowhere") and not client.is_model_ready("simple", "2")
    assert client.get_server_metadata()["name"]
    assert [each["name"] for each in client.get_model_metadata("simple")["inputs"]] == ["INPUT0", "INPUT1"]
    assert client.get_model_config("simple")["input"][0]["data_type"] == "TYPE_INT32"
    assert {each["name"] for each in client.get_model_repository_index()} >= {"simple", "simple_string"}
    assert client.get_inference_statistics("simple")["model_stats"][0]["name"] == "simple"
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'wrong' is not found"):
        client.get_model_metadata("wrong")


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_sum_and_difference(client: triton.InferenceServerClient, binary: bool) -> None:
    asked = [
        triton.InferRequestedOutput("OUTPUT0", binary_data=binary),
        triton.InferRequestedOutput("OUTPUT1", binary_data=not binary),
    ]
    result = client.infer("simple", rows(binary=binary), outputs=asked, request_id="7", model_version="1")
    check(result)
    assert result.get_response()["id"] == "7"
    only = client.infer("simple", rows(), outputs=asked[:1])
    assert only.as_numpy("OUTPUT1") is None
    check(client.infer("simple", rows()))


def test_parameters_headers_and_a_query(client: triton.InferenceServerClient) -> None:
    check(
        client.infer(
            "simple",
            rows(),
            headers={"test": "1"},
            query_params={"test_1": 1, "test_2": 2},
            priority=1,
            timeout=30_000_000,
            parameters={"mine": "text", "more": 3, "flag": True},
        )
    )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_compression_both_ways(client: triton.InferenceServerClient, algorithm: str, binary: bool) -> None:
    check(
        client.infer(
            "simple",
            rows(binary=binary),
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
    )


def test_several_at_once(client: triton.InferenceServerClient) -> None:
    for answer in [client.async_infer("simple", rows()) for _ in range(50)]:
        check(answer.get_result())


def test_asyncio(server: Endpoint) -> None:
    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(server.address) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("simple"))["name"] == "simple"
            assert (await client.get_model_config("simple"))["name"] == "simple"
            assert len((await client.get_inference_statistics("simple"))["model_stats"]) == 1
            assert {"simple"} <= {each["name"] for each in await client.get_model_repository_index()}
            return await asyncio.gather(*(client.infer("simple", rows(triton_aio)) for _ in range(8)))

    for result in asyncio.run(ask()):
        check(result)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_numbers_as_text(client: triton.InferenceServerClient, binary: bool) -> None:
    texts = [np.array([[str(number) for number in array[0]]], object) for array in (ROW, ONES)]
    given = [
        triton.InferInput(name, [1, 16], "BYTES").set_data_from_numpy(text, binary_data=binary)
        for name, text in zip(("INPUT0", "INPUT1"), texts, strict=True)
    ]
    result = client.infer("simple_string", given)
    assert [int(item) for item in result.as_numpy("OUTPUT0")[0]] == (ROW + ONES)[0].tolist()
    assert [int(item) for item in result.as_numpy("OUTPUT1")[0]] == (ROW - ONES)[0].tolist()


def test_classes(client: triton.InferenceServerClient) -> None:
    asked = [triton.InferRequestedOutput("OUTPUT0", class_count=2)]
    found = client.infer("simple", rows(), outputs=asked).as_numpy("OUTPUT0")
    assert [item.decode() for item in found.ravel()] == ["16:15", "15:14"]


def test_text_with_zeros_in_it(client: triton.InferenceServerClient) -> None:
    array = np.array([[f"he\0llo {number}".encode() for number in range(16)]], object)
    given = triton.InferInput("INPUT0", [1, 16], "BYTES").set_data_from_numpy(array)
    found = client.infer("simple_identity", [given]).as_numpy("OUTPUT0")
    np.testing.assert_array_equal(found, array)


def test_a_body_made_and_read_without_a_connection(server: Endpoint) -> None:
    """tritonclient's codec alone: what other HTTP libraries send and receive."""
    body, length = triton.InferenceServerClient.generate_request_body(rows())
    answer = server.infer("simple", body, {"Inference-Header-Content-Length": str(length)})
    header = int(answer.headers["inference-header-content-length"])
    check(triton.InferenceServerClient.parse_response_body(answer.body, header_length=header))


def test_errors_arrive_as_messages(client: triton.InferenceServerClient) -> None:
    wrong = [triton.InferInput("INPUT0", [1, 16], "INT64").set_data_from_numpy(ROW.astype(np.int64)), rows()[1]]
    with pytest.raises(InferenceServerException, match="INPUT0") as caught:
        client.infer("simple", wrong)
    assert caught.value.status() == "400"
