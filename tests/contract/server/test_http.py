"""What is this server's own beside the protocol (protocol/): its messages, its bounds, strict HTTP, documents."""

from __future__ import annotations

import gzip
import json
import re
import socket
import zlib
from typing import Any

import pytest

from builder.serve.http.listener import listen
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


@pytest.mark.parametrize("shape", [[0, 2**40], [2**40, 0], [2**62, 0], [0, 2**63 - 1]], ids=str)
def test_empty_tensors_with_huge_dims_do_no_harm(address: str, shape: list[int]) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": []}]}
    assert ask(address, "POST", "/v2/models/identity_FP32/infer", body).status in (200, 400)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_unpacks_to_too_much_is_refused(address: str, coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000)) if coding == "gzip" else zlib.compress(bytes(50_000_000))
    assert ask(address, "POST", LINE, bomb, {"Content-Encoding": coding}).status == 413


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


def test_a_body_that_is_announced_and_too_large_is_not_sent(address: str) -> None:
    too_large = f"POST {LINE} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n"
    assert exchange(address, too_large.encode()).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(address: str) -> None:
    slow = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}).encode()
    several = request("POST", "/v2/models/slow/infer", slow) + request("GET", "/v2/health/live") + closing()
    received = exchange(address, several)
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.index(b'"slow"') < received.index(b'"line"')
    assert exchange(address, request("GET", "/v2/health/live") * 500, half_close=True).count(b"200 OK") == 500


def test_requests_that_never_end_time_out(address: str) -> None:
    assert exchange(address, b"GET /v2 HT").startswith(b"HTTP/1.1 408 ")
    assert exchange(address, closing()[:-3]).startswith(b"HTTP/1.1 408 ")


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


def test_small_answers_are_not_held_back_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener:
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # asyncio turns Nagle's algorithm off for these only
