"""CORS: browsers let pages read the answers only where their origin was named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.onnx_models import identity, place
from tests.support.servers import RunningServer, ask, exchange, running

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
QUICK = "/v2/models/quick/infer"
APP = "https://app.example.com"
KEY = "0123456789abcdef"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "quick", identity("FP32", ("n",)))
    return folder


@pytest.fixture(scope="module")
def named(server_source: Path, models: Path) -> Iterator[RunningServer]:
    origins = f"{APP}, http://localhost:3000"
    with running(server_source, models, MBUILD_CORS_ORIGINS=origins, MBUILD_API_KEY=KEY) as server:
        yield server.ready()


def test_off_unless_origins_are_named(address: str) -> None:
    answer = ask(address, "GET", "/v2", headers={"Origin": APP})
    assert answer.status == 200 and not [name for name in answer.headers if "access-control" in name]
    assert ask(address, "OPTIONS", "/v2", headers={"Origin": APP, **ASKS}).status == 405


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_a_preflight_needs_no_key(named: RunningServer, origin: str) -> None:
    answer = ask(named.address, "OPTIONS", QUICK, headers={"Origin": origin, **ASKS})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == origin and answer.headers["vary"] == "Origin"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed >= {"content-type", "authorization", "x-api-key", "inference-header-content-length"}
    assert "access-control-allow-credentials" not in answer.headers


def test_answers_and_errors_may_be_read(named: RunningServer) -> None:
    for headers, status in (({"X-API-Key": KEY}, 200), ({}, 401)):
        answer = ask(named.address, "POST", QUICK, ONE, {"Origin": APP, **headers})
        assert answer.status == status and answer.headers["access-control-allow-origin"] == APP
        assert "Inference-Header-Content-Length" in answer.headers["access-control-expose-headers"]
    head = f"POST {QUICK} HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nContent-Length: 1000\r\n\r\n"
    early = exchange(named.address, head.encode())
    assert early.startswith(b"HTTP/1.1 401 ") and f"Access-Control-Allow-Origin: {APP}\r\n".encode() in early


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.com.evil.example", "null", APP + ":1"])
def test_others_may_not(named: RunningServer, origin: str) -> None:
    for method, path, headers in (("OPTIONS", QUICK, ASKS), ("GET", "/v2/health/live", {})):
        answer = ask(named.address, method, path, headers={"Origin": origin, **headers})
        assert "access-control-allow-origin" not in answer.headers and answer.headers["vary"] == "Origin"


def test_every_origin(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_CORS_ORIGINS="*") as server:
        server.ready()
        answer = ask(server.address, "POST", QUICK, ONE, {"Origin": "null"})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert "vary" not in answer.headers
        assert "access-control-allow-origin" not in ask(server.address, "GET", "/v2").headers
