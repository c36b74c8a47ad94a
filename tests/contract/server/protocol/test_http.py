"""HTTP/1.1 below the protocol: compression both ways, chunks, connections that stay, methods."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib

import pytest

from tests.contract.server.protocol.endpoint import HEADER_LENGTH, Endpoint, outputs, tensor
from tests.support.servers import exchange

INFER = "/v2/models/line/infer"
GOOD = json.dumps({"inputs": [tensor("x", "FP32", [2], data=[1.5, -2])]}).encode()
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\n"
PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}


def request(*headers: str, body: bytes = GOOD) -> bytes:
    lines = [f"POST {INFER} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def opened(server: Endpoint) -> socket.socket:
    host, port = server.address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


@pytest.mark.parametrize("coding", PACK)
def test_compressed_requests(server: Endpoint, coding: str) -> None:
    answer = server.infer("line", PACK[coding](GOOD), {"Content-Encoding": coding})
    assert outputs(answer)["y"]["data"] == [1.5, -2.0]


@pytest.mark.parametrize("coding", PACK)
def test_compressed_binary_requests(server: Endpoint, coding: str) -> None:
    """The header's length is that of the JSON as it was before it was compressed."""
    text = json.dumps({"inputs": [tensor("x", "FP32", [2], parameters={"binary_data_size": 8})]}).encode()
    headers = {"Content-Encoding": coding, HEADER_LENGTH: str(len(text))}
    assert outputs(server.infer("line", PACK[coding](text + bytes(8)), headers))["y"]["data"] == [0, 0]


@pytest.mark.parametrize("coding", PACK)
def test_bodies_that_are_not_compressed_as_they_say(server: Endpoint, coding: str) -> None:
    for body in (GOOD, PACK[coding](GOOD)[:-4]):
        answer = server.infer("line", body, {"Content-Encoding": coding})
        assert answer.status == server.differs("broken-coding", triton=200, here=400)


def test_no_compression_by_name(server: Endpoint) -> None:
    assert server.infer("line", GOOD, {"Content-Encoding": "identity"}).status == 200


@pytest.mark.parametrize("coding", ["br", "gzip, deflate"])
def test_other_codings(server: Endpoint, coding: str) -> None:
    answer = server.infer("line", GOOD, {"Content-Encoding": coding})
    assert answer.status == server.differs("coding", triton=501, here=415)
    assert answer.headers["accept-encoding"] == "gzip, deflate" and answer.error


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("br;q=1, gzip;q=0.5", "gzip"),
        ("gzip;q=0, deflate;q=1", "deflate"),
        ("br", None),
        ("gzip;q=0", None),
        ("identity", None),
    ],
)
def test_compressed_responses(server: Endpoint, accepted: str, coding: str | None) -> None:
    body = {"inputs": [tensor("x", "FP32", [1000], data=[1.5] * 1000)]}
    answer = server.infer("line", body, {"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == coding
    text = UNPACK[coding](answer.body) if coding else answer.body
    assert json.loads(text)["outputs"][0]["data"] == [1.5] * 1000


def test_compressed_binary_responses(server: Endpoint) -> None:
    """Length of the JSON as it is once it is unpacked."""
    body = {"inputs": [tensor("x", "FP32", [1000], data=[1.5] * 1000)], "parameters": {"binary_data_output": True}}
    answer = server.infer("line", body, {"Accept-Encoding": "gzip"})
    length = int(answer.headers[HEADER_LENGTH.lower()])
    text = gzip.decompress(answer.body)
    assert json.loads(text[:length])["outputs"][0]["parameters"] == {"binary_data_size": 4000}
    assert len(text) == length + 4000


def test_small_responses(server: Endpoint) -> None:
    answer = server.infer("line", GOOD, {"Accept-Encoding": "gzip"})
    assert ("content-encoding" in answer.headers) == server.differs("small-compressed", triton=True, here=False)


def test_expect_continue(server: Endpoint) -> None:
    with opened(server) as connection, connection.makefile("rb") as received:
        connection.sendall(request("Expect: 100-continue", "Connection: close")[: -len(GOOD)])
        assert received.readline() + received.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert received.readline() == b"HTTP/1.1 200 OK\r\n"


def test_a_body_in_chunks(server: Endpoint) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (GOOD[:7], GOOD[7:]))
    assert b'"data":[1.5,-2.0]' in exchange(server.address, head, chunks, b"0\r\n\r\n")


def test_a_connection_stays(server: Endpoint) -> None:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.connect()
    mine = connection.sock
    for path in ("/v2", "/nowhere", "/v2/health/live", "/v2/models/mlp"):
        connection.request("GET", path)
        connection.getresponse().read()
        connection.request("POST", INFER, GOOD)
        assert connection.getresponse().read().endswith(b'"data":[1.5,-2.0]}]}')
    assert connection.sock is mine
    connection.close()


def test_a_connection_closes_on_request(server: Endpoint) -> None:
    received = exchange(server.address, LIVE + b"Connection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ") and b"Connection: close\r\n" in received


def test_http_1_0(server: Endpoint) -> None:
    """A client of that age waits for the end of the connection, unless it asks to keep it and is told that it is."""
    old = b"GET /v2/models/mlp HTTP/1.0\r\n"
    with opened(server) as connection, connection.makefile("rb") as received:
        for keep in (b"Connection: keep-alive\r\n", b""):
            connection.sendall(old + keep + b"\r\n")
            head = http.client.parse_headers(received) if received.readline().split()[1] == b"200" else {}
            assert head["Content-Type"] == "application/json"
            if keep:
                assert head["Connection"].lower() == "keep-alive"
                received.read(int(head["Content-Length"]))
        assert received.read().endswith(b"}")


def test_an_absolute_target(server: Endpoint) -> None:
    absolute = b"GET http://test/v2/health/live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    assert exchange(server.address, absolute).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/health/live HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /v2/health/live HTTP/2.0\r\nHost: test\r\nConnection: close\r\n\r\n",
        LIVE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ],
    ids=["no host", "HTTP/2.0", "two lengths"],
)
def test_heads_that_rfc_9112_forbids(server: Endpoint, head: bytes) -> None:
    status = exchange(server.address, head).split(b" ")[1]
    assert status == server.differs("strict-http", triton=b"200", here=b"400")


def test_garbage_is_refused(server: Endpoint) -> None:
    assert b"200 OK" not in exchange(server.address, b"\x16\x03\x01\x02\x00\x01\r\n\r\n")


def test_head(server: Endpoint) -> None:
    head, _, body = exchange(server.address, b"HEAD /v2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.split(b" ")[1] == server.differs("head", triton=b"405", here=b"200")
    assert bool(body) == server.differs("head", triton=True, here=False)


def test_pipelined_requests(http_endpoint: Endpoint) -> None:
    http_endpoint.alone("pipelining")
    several = request() + LIVE + b"\r\n" + request("Connection: close")
    assert exchange(http_endpoint.address, several).count(b"HTTP/1.1 200 OK") == 3


def test_a_client_that_closes_its_sending_side(server: Endpoint) -> None:
    body = json.dumps({"inputs": [tensor("x", "FP32", [1], data=[1])]}).encode()
    head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with opened(server) as connection, connection.makefile("rb") as received:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # request and end leave together
        connection.sendall(head + body)
        connection.shutdown(socket.SHUT_WR)
        line = received.readline()
    assert line.startswith(b"HTTP/1.1 200 ") == server.differs("half-close", triton=True, here=False)
