"""The access log: off unless asked for, sampled, never without the errors, never with a secret."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.onnx_models import identity, place, slow
from tests.support.servers import ask, running

ONE = {"id": "from-body", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
QUICK = "/v2/models/quick/infer"
KEY = "0123456789abcdef"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "quick", identity("FP32", ("n",)))
    place(folder, "slow", slow(1200))
    return folder


def test_off_unless_asked_for(server_source: Path, models: Path) -> None:
    with running(server_source, models) as server:
        assert ask(server.ready().address, "POST", QUICK, ONE).status == 200
        server.send_signal()
        assert server.exit_code() == 0
        server.event("stopped")
        assert not [event for event in server.events if event["message"] == "request"]


def test_a_line_says_who_what_and_how_long(server_source: Path, models: Path) -> None:
    keys = {"MBUILD_API_KEY": KEY, "MBUILD_ACCESS_LOG": "1"}
    headers = {"X-API-Key": KEY, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-00", "User-Agent": "tester/1"}
    with running(server_source, models, **keys) as server:
        assert ask(server.ready().address, "POST", f"{QUICK}?key={KEY}", ONE, headers).status == 200
        line = server.event("request")
        assert KEY not in str(server.events)
    assert (line["method"], line["target"], line["status"]) == ("POST", QUICK, 200)
    assert (line["model"], line["version"], line["batch_rows"]) == ("quick", "1", 1)
    assert (line["client"], line["key"], line["user_agent"]) == ("127.0.0.1", "environment", "tester/1")
    assert (line["request_id"], line["trace_id"]) == ("from-body", TRACE)
    assert line["milliseconds"] >= line["compute_ms"] >= 0 and line["queue_ms"] >= 0


def test_a_small_share_leaves_out_what_went_well(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_ACCESS_LOG="0.000000001") as server:
        address = server.ready().address
        for _ in range(20):
            assert ask(address, "POST", QUICK, ONE).status == 200
        assert ask(address, "POST", "/absent", ONE, {"X-Request-Id": "mine"}).status == 404
        line = server.event("request")
        assert (line["status"], line["target"], line["request_id"]) == (404, "/absent", "mine")
        server.send_signal()
        assert server.exit_code() == 0
        assert [event["status"] for event in server.events if event["message"] == "request"] == [404]


def test_a_client_that_left_is_told_of(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_ACCESS_LOG="1", MBUILD_THREADS="1") as server:
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
        with socket.create_connection(("127.0.0.1", server.ready().port)) as connection:
            head = f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
        assert server.event("request")["status"] == 499
