"""HTTP/1.1 and the protocol by raw requests: what clients send that tritonclient never would."""

from __future__ import annotations

import gzip
import json
import re
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest

from tests.contract.server.conftest import MAX_BODY
from tests.support.servers import ask, exchange

INFER = "/v2/models/mlp/infer"
LINE = "/v2/models/line/infer"
GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.5, -2]}]}
FEATURES = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def closing(body: bytes = json.dumps(GOOD).encode(), path: str = LINE) -> bytes:
    return request("POST", path, body, "Connection: close")


def test_health_has_empty_bodies_and_metadata_has_json(address: str) -> None:
    for path in ("/v2/health/live", "/v2/health/ready"):
        answer = ask(address, "GET", path)
        assert (answer.status, answer.body) == (200, b"")
    assert ask(address, "GET", "/v2/models/mlp/ready").json() == {"name": "mlp", "ready": True}
    assert set(ask(address, "GET", "/v2/").json()) == {"name", "version", "extensions"}


def test_a_request_with_nested_data_id_and_parameters(address: str) -> None:
    body = {
        "id": "é-1",
        "parameters": {"priority": 1},
        "inputs": [FEATURES | {"data": [[1, 2, 3, 4]], "parameters": {}}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}],
    }
    answer = ask(address, "POST", "/v2/models/mlp/versions/1/infer", body).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("mlp", "1", "é-1")
    assert answer["outputs"][0]["shape"] == [1, 3]
    assert sum(answer["outputs"][0]["data"]) == pytest.approx(1, abs=1e-5)


def test_nan_and_infinity_pass(address: str) -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[3],"data":[NaN,Infinity,-Infinity]}]}'
    assert b"[NaN,Infinity,-Infinity]" in ask(address, "POST", LINE, body).body


WRONG: list[tuple[str, Any, str]] = [
    ("no object", b"[]", "must be a JSON object"),
    ("no JSON", b"{'inputs'", "not JSON"),
    ("no UTF-8", b'{"id": "\xff"}', "not JSON"),
    ("deep", b"[" * 50_000, "not JSON"),
    ("deep data", b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":' + b"[" * 900, "not JSON"),
    ("no inputs", {}, "inputs must be a list"),
    ("input is text", {"inputs": ["features"]}, "must be an object with a name"),
    ("missing", {"inputs": []}, "input 'features' is missing"),
    ("unknown", {"inputs": [FEATURES | {"name": "nope"}]}, "unexpected input 'nope'"),
    ("twice", {"inputs": [FEATURES, FEATURES]}, "input 'features' is given twice"),
    ("datatype", {"inputs": [FEATURES | {"datatype": "INT8"}]}, "input 'features': datatype is 'INT8'"),
    ("no shape", {"inputs": [{k: v for k, v in FEATURES.items() if k != "shape"}]}, "shape must be a list"),
    ("bool shape", {"inputs": [FEATURES | {"shape": [True, 4]}]}, "shape must be a list"),
    ("negative", {"inputs": [FEATURES | {"shape": [-1, 4]}]}, "shape must be a list"),
    ("2^63", {"inputs": [FEATURES | {"shape": [2**63, 4]}]}, "shape must be a list"),
    ("rank", {"inputs": [FEATURES | {"shape": [4]}]}, "shape is [4], the model takes [-1, 4]"),
    ("dim", {"inputs": [FEATURES | {"shape": [1, 5]}]}, "shape is [1, 5], the model takes [-1, 4]"),
    ("huge", {"inputs": [FEATURES | {"shape": [2**62, 4]}]}, "data has 4 elements"),
    ("few", {"inputs": [FEATURES | {"data": [1]}]}, "data has 1 elements, shape [1, 4] needs 4"),
    ("nested wrong", {"inputs": [FEATURES | {"data": [[1, 2], [3, 4]]}]}, "data is nested as [2, 2]"),
    ("ragged", {"inputs": [FEATURES | {"data": [[1], [2, 3, 4]]}]}, "nested unevenly"),
    ("text", {"inputs": [FEATURES | {"data": ["1", "2", "3", "4"]}]}, "data must hold only numbers for FP32"),
    ("bools", {"inputs": [FEATURES | {"data": [True, 1, 1, 1]}]}, "data must hold only numbers"),
    ("nulls", {"inputs": [FEATURES | {"data": [None, 1, 1, 1]}]}, "data must hold only numbers"),
    ("range", {"inputs": [FEATURES | {"data": [1e300, 1, 1, 1]}]}, "data has a number outside the range of FP32"),
    ("bigint", {"inputs": [FEATURES | {"data": [10**400, 1, 1, 1]}]}, "outside the range"),
    ("data object", {"inputs": [FEATURES | {"data": {}}]}, "data must be a list"),
    ("no data", {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4]}]}, "neither data nor"),
    ("parameters", {"inputs": [FEATURES], "parameters": []}, "parameters must be an object"),
    ("id", {"inputs": [FEATURES], "id": 5}, "id must be a string"),
    ("outputs", {"inputs": [FEATURES], "outputs": {}}, "outputs must be a list"),
    ("output", {"inputs": [FEATURES], "outputs": [{"name": "x"}]}, "unexpected output 'x'"),
    (
        "flag",
        {"inputs": [FEATURES], "outputs": [{"name": "probabilities", "parameters": {"binary_data": 1}}]},
        "binary_data must be true or false",
    ),
    (
        "shared memory",
        {"inputs": [FEATURES | {"parameters": {"shared_memory_region": "r"}}]},
        "shared_memory_region is not supported",
    ),
    (
        "binary size",
        {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]},
        "binary_data_size is 16, the body has only 0",
    ),
]


@pytest.mark.parametrize(("body", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_requests_say_what_is_wrong(address: str, body: Any, message: str) -> None:
    answer = ask(address, "POST", INFER, body)
    assert answer.status == 400
    assert message in answer.error


@pytest.mark.parametrize(
    ("datatype", "value", "status"),
    [
        ("UINT64", 2**64 - 1, 200),
        ("UINT64", 2**64, 400),
        ("INT64", -(2**63), 200),
        ("UINT8", -1, 400),
        ("INT8", 128, 400),
        ("INT32", 1.0, 400),
        ("BOOL", 1, 400),
        ("FP16", 1.0, 400),
        ("BF16", 1.0, 400),
        ("BYTES", 5, 400),
        ("BYTES", "\ud800", 400),
    ],
)
def test_json_values_fit_their_datatype_or_are_refused(address: str, datatype: str, value: Any, status: int) -> None:
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [1, 2], "data": [value, value]}]}
    answer = ask(address, "POST", f"/v2/models/identity_{datatype}/infer", body)
    assert answer.status == status
    if status == 200:
        assert answer.json()["outputs"][0]["data"] == [value, value]
    else:
        assert "'x'" in answer.error or "utf-8" in answer.error


def test_large_requests_and_responses_in_json(address: str) -> None:
    values = [number / 8 for number in range(20_000)]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values)], "data": values}]}
    answer = ask(address, "POST", LINE, body)
    assert answer.json()["outputs"][0]["data"] == values
    wrong = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [7], "data": values}]}
    assert ask(address, "POST", LINE, wrong).status == 400


@pytest.mark.parametrize("shape", [[0, 2**40], [2**40, 0], [2**62, 0], [0, 2**63 - 1]], ids=str)
def test_empty_tensors_with_huge_dims_do_no_harm(address: str, shape: list[int]) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]}
    assert ask(address, "POST", "/v2/models/identity_FP32/infer", body).status in (200, 400)


def test_half_precision_outputs_must_be_binary(address: str) -> None:
    data = np.ones((1, 2), np.float16).tobytes()
    head = {"inputs": [{"name": "x", "datatype": "FP16", "shape": [1, 2], "parameters": {"binary_data_size": 4}}]}
    text = json.dumps(head).encode()
    answer = ask(
        address,
        "POST",
        "/v2/models/identity_FP16/infer",
        text + data,
        {"Inference-Header-Content-Length": str(len(text))},
    )
    assert answer.status == 400 and "output 'y': FP16 has no JSON form" in answer.error
    text = json.dumps(head | {"parameters": {"binary_data_output": True}}).encode()
    answer = ask(
        address,
        "POST",
        "/v2/models/identity_FP16/infer",
        text + data,
        {"Inference-Header-Content-Length": str(len(text))},
    )
    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == data and answer.headers["content-type"] == "application/octet-stream"


def test_what_the_graph_refuses_is_the_clients_mistake(address: str) -> None:
    pair = {"datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
    body = {
        "inputs": [
            {"name": "a", **pair},
            {"name": "b", **pair, "shape": [1, 2], "data": [0, 0]},
            {"name": "index", "datatype": "INT64", "shape": [1], "data": [7]},
        ]
    }
    answer = ask(address, "POST", "/v2/models/two/infer", body)
    assert answer.status == 400 and "model 'two' could not compute these inputs" in answer.error
    assert ".cc" not in answer.error and "ONNXRuntimeError" not in answer.error


RAW = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}


def test_raw_binary_requests(address: str) -> None:
    data = np.arange(3, dtype=np.float32).tobytes()
    answer = ask(address, "POST", LINE, data, RAW)
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.body[:length])["outputs"][0]["shape"] == [3]
    assert answer.body[length:] == data
    answer = ask(address, "POST", "/v2/models/one_string/infer", b"any text", RAW)
    assert answer.body.endswith(struct.pack("<I", 8) + b"any text")
    batch_of_one = ask(address, "POST", "/v2/models/identity_FP32/infer", data, RAW)
    assert b'"shape":[1,3]' in batch_of_one.body
    assert ask(address, "POST", LINE, b"12345", RAW).status == 400
    assert ask(address, "POST", "/v2/models/two/infer", data, RAW).status == 400


@pytest.mark.parametrize("length", ["-1", "x", "99999", "1e2", "9" * 30])
def test_header_lengths_that_lie(address: str, length: str) -> None:
    answer = ask(address, "POST", LINE, GOOD, {"Inference-Header-Content-Length": length})
    assert answer.status == 400


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_requests(address: str, coding: str) -> None:
    text = json.dumps(GOOD).encode()
    body = gzip.compress(text) if coding == "gzip" else zlib.compress(text)
    headers = {"Content-Encoding": coding}
    assert ask(address, "POST", LINE, body, headers).json()["outputs"][0]["data"] == [1.5, -2]
    assert ask(address, "POST", LINE, body[:-4], headers).status == 400
    assert ask(address, "POST", LINE, text, headers).status == 400
    assert ask(address, "POST", LINE, body, {"Content-Encoding": "br"}).status == 415
    bomb = gzip.compress(bytes(50_000_000)) if coding == "gzip" else zlib.compress(bytes(50_000_000))
    assert ask(address, "POST", LINE, bomb, headers).status == 413


def test_bare_deflate_is_understood(address: str) -> None:
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(json.dumps(GOOD).encode()) + packer.flush()
    assert ask(address, "POST", LINE, body, {"Content-Encoding": "deflate"}).status == 200


def test_compressed_only_when_asked_and_worth_it(address: str) -> None:
    plain = ask(address, "GET", "/openapi.json")
    packed = ask(address, "GET", "/openapi.json", headers={"Accept-Encoding": "br;q=1, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in ask(address, "GET", "/v2", headers={"Accept-Encoding": "gzip"}).headers
    assert (
        "content-encoding" not in ask(address, "GET", "/openapi.json", headers={"Accept-Encoding": "gzip;q=0"}).headers
    )


def test_errors_that_belong_to_http(address: str) -> None:
    assert ask(address, "GET", "/nowhere").status == 404
    assert ask(address, "GET", "/v2/models/mlp/versions/9").status == 404
    assert ask(address, "POST", "/v2/models/nope/infer", GOOD).status == 404
    wrong = ask(address, "GET", INFER)
    assert wrong.status == 405 and wrong.headers["allow"] == "POST"
    assert ask(address, "POST", LINE, bytes(MAX_BODY + 1)).status == 413
    assert ask(address, "GET", "/v2", headers={"X": "y" * 20_000}).status == 431
    head = ask(address, "HEAD", "/v2")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) > 20


@pytest.mark.parametrize(
    "bad",
    [
        b"GET /v2\r\n\r\n",
        b"GET /v2 HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET /v2 HTTP/1.1\nHost: a\n\r\n\r\n",
        b"GET /v\x002 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /v2 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
def test_malformed_http_is_refused_and_the_connection_closed(address: str, bad: bytes) -> None:
    received = exchange(address, bad + request("GET", "/v2/health/live"))
    assert received.startswith(b"HTTP/1.1 400 ") and received.count(b"Date: ") == 1


def test_chunked_bodies(address: str) -> None:
    text = json.dumps(GOOD).encode()
    head = f"POST {LINE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(f"{len(part):x};ext=1\r\n".encode() + part + b"\r\n" for part in (text[:7], text[7:]))
    assert b'"data":[1.5,-2.0]' in exchange(address, head, chunks, b"0\r\nTrailer: x\r\n\r\n")
    too_large = exchange(address, head + f"{MAX_BODY + 1:x}\r\n".encode())
    assert too_large.startswith(b"HTTP/1.1 413 ")


def test_expect_continue(address: str) -> None:
    body = json.dumps(GOOD).encode()
    whole = request("POST", LINE, body, "Expect: 100-continue", "Connection: close")
    received = exchange(address, whole[: -len(body)], body, pause=0.2)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    too_large = f"POST {LINE} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"
    assert exchange(address, too_large.encode()).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(address: str) -> None:
    slow = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}).encode()
    several = request("POST", "/v2/models/slow/infer", slow) + request("GET", "/v2/health/live") + closing()
    received = exchange(address, several)
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.index(b'"slow"') < received.index(b'"line"')
    assert exchange(address, request("GET", "/v2/health/live") * 500, half_close=True).count(b"200 OK") == 500


def test_http_1_0_and_absolute_targets(address: str) -> None:
    assert exchange(address, b"GET /v2/health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    absolute = b"GET http://test/v2/health/live?x=1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    assert exchange(address, absolute).startswith(b"HTTP/1.1 200 ")


def test_requests_that_never_end_time_out(address: str) -> None:
    started = time.monotonic()
    assert exchange(address, b"GET /v2 HT").startswith(b"HTTP/1.1 408 ")
    assert exchange(address, closing()[:-3]).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 12


def test_metrics_carry_tritons_names(address: str) -> None:
    ask(address, "POST", LINE, GOOD)
    ask(address, "POST", LINE, {})
    answer = ask(address, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
    where = 'model="line",version="1"'
    assert int(values[f"nv_inference_request_success{{{where}}}"]) >= 1
    assert int(values[f'nv_inference_request_failure{{{where},reason="OTHER"}}']) >= 1
    assert int(values[f"nv_inference_pending_request_count{{{where}}}"]) == 0
    assert int(values[f"nv_inference_compute_infer_duration_us{{{where}}}"]) > 0
    assert float(values["process_resident_memory_bytes"]) > 1e6 and values["mbuild_ready"] == "1"


def test_the_openapi_examples_work(address: str) -> None:
    document = ask(address, "GET", "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    tried = 0
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            if method == "post" and body is None:
                assert path.split("/")[3] in ("identity_FP16", "identity_BF16")
                continue
            answer = ask(address, method.upper(), path, body)
            assert answer.status == 200, (path, answer.body)
            tried += 1
    assert tried > 20
    mlp = document["paths"][INFER]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert mlp["inputs"][0]["data"] == [1, 2, 3, 4]  # the golden case


def test_the_page_for_people_needs_no_other_host(address: str) -> None:
    sizes: dict[str, int] = {}
    for path, script in (("/", "page"), ("/docs", "docs")):
        page = ask(address, "GET", path)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        text = page.body.decode()
        assert "://" not in text and "<script>" not in text and "style=" not in text
        files = [f"ui/{script}.js", "ui/style.css", "ui/icon.svg"]
        assert all(f'"{name}"' in text for name in files)
        while files:
            name = files.pop()
            file = ask(address, "GET", f"/{name}")
            assert file.status == 200
            sizes[name] = len(ask(address, "GET", f"/{name}", headers={"Accept-Encoding": "gzip"}).body)
            imported = re.findall(r'from "\./(\w+\.js)"', file.body.decode())
            files += [each for each in (f"ui/{module}" for module in imported) if each not in sizes]
    assert sum(sizes.values()) < 40_000
