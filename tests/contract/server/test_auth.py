"""API keys: who has none is told how to send one, keys rotate without a restart, and no key is ever written."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.support.onnx_models import identity, place
from tests.support.servers import RunningServer, ask, exchange, refused, run, running

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
QUICK = "/v2/models/quick/infer"
ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "quick", identity("FP32", ("n",)))
    return folder


@contextmanager
def serving(source: Path, models: Path, **environ: str) -> Iterator[RunningServer]:
    with running(source, models, **environ) as server:
        yield server.ready()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def locked(server_source: Path, models: Path) -> Iterator[RunningServer]:
    with serving(server_source, models, MBUILD_API_KEY=ALICE, MBUILD_ACCESS_LOG="1") as server:
        yield server
        server.send_signal()
        assert server.exit_code() == 0
        written = f"{server.events}{server.stray}"
        assert ALICE not in written and BOB not in written


@pytest.mark.parametrize(
    "headers",
    [bearer(ALICE), {"authorization": f"bearer  {ALICE}"}, {"X-API-Key": ALICE}, {**bearer(BOB), "X-API-Key": ALICE}],
)
def test_a_key_opens(locked: RunningServer, headers: dict[str, str]) -> None:
    assert ask(locked.address, "POST", QUICK, ONE, headers).status == 200
    assert ask(locked.address, "GET", "/metrics", None, headers).status == 200


@pytest.mark.parametrize(
    ("headers", "message", "challenge"),
    [
        ({}, "an API key is needed; send it as Authorization: Bearer KEY", 'Bearer realm="mbuild"'),
        ({"Authorization": "Basic YTpi"}, "an API key is needed", 'Bearer realm="mbuild"'),
        (bearer(BOB), "the API key is not valid", 'Bearer realm="mbuild", error="invalid_token"'),
        (bearer(ALICE[:-1]), "the API key is not valid", 'Bearer realm="mbuild", error="invalid_token"'),
        ({"X-API-Key": f"{ALICE}\xe9"}, "the API key is not valid", 'Bearer realm="mbuild", error="invalid_token"'),
    ],
)
def test_without_a_key_nothing_opens(
    locked: RunningServer, headers: dict[str, str], message: str, challenge: str
) -> None:
    for method, path in (
        ("POST", QUICK),
        ("GET", "/metrics"),
        ("GET", "/v2"),
        ("GET", "/openapi.json"),
        ("GET", "/v2/models/quick"),
        ("GET", "/v2/health/live/../../models/quick"),
        ("GET", "/absent"),
        ("OPTIONS", "/v2"),
    ):
        answer = ask(locked.address, method, path, ONE if method == "POST" else None, headers)
        assert answer.status == 401 and answer.error.startswith(message), path
        assert answer.headers["www-authenticate"] == challenge


def test_health_and_the_pages_are_open(locked: RunningServer, server_source: Path, models: Path) -> None:
    for path in ("/v2/health/live", "/v2/health/ready?verbose", "/docs"):
        assert ask(locked.address, "GET", path).status == 200
    health = run(server_source, models, "health", MBUILD_PORT=str(locked.port))
    assert health.returncode == 0


def test_no_body_is_read_of_who_has_no_key(locked: RunningServer) -> None:
    head = f"POST {QUICK} HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\nExpect: 100-continue\r\n"
    assert exchange(locked.address, f"{head}\r\n".encode()).startswith(b"HTTP/1.1 401 Unauthorized")
    with socket.create_connection(("127.0.0.1", locked.port), timeout=20) as connection:
        connection.sendall(f"{head}X-API-Key: {ALICE}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue")


def test_tritonclient_sends_a_key_as_a_header(locked: RunningServer) -> None:
    with triton.InferenceServerClient(locked.address) as client:
        tensor = triton.InferInput("x", [2], "FP32")
        tensor.set_data_from_numpy(np.ones(2, np.float32))
        assert client.infer("quick", [tensor], headers=bearer(ALICE)).as_numpy("y").tolist() == [1, 1]
        with pytest.raises(Exception, match="an API key is needed"):
            client.infer("quick", [tensor])


def test_keys_of_a_file_rotate(server_source: Path, models: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# who may ask\nalice {ALICE}\n")
    environ = {"MBUILD_API_KEY_FILE": str(keys), "MBUILD_ACCESS_LOG": "1", "MBUILD_METRICS_OPEN": "1"}
    with serving(server_source, models, **environ) as server:

        def status(key: str) -> int:
            return ask(server.address, "POST", QUICK, ONE, bearer(key)).status

        assert (status(ALICE), status(BOB)) == (200, 401)
        keys.write_text(f"{ALICE} {BOB} three words\n")
        warning = server.event("API keys stay as they were: MBUILD_API_KEY_FILE: line 1 of ")
        assert ALICE not in str(warning) and (status(ALICE), status(BOB)) == (200, 401)
        keys.write_text(f"bob {BOB}\n")
        server.event("API keys were read again")
        assert (status(ALICE), status(BOB)) == (401, 200)
        assert ask(server.address, "GET", "/metrics").status == 200


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"MBUILD_API_KEY_FILE": "/absent/keys"}, "MBUILD_API_KEY_FILE: /absent/keys cannot be read: "),
        ({"MBUILD_API_KEY_FILE": "/dev/null"}, "MBUILD_API_KEY_FILE: /dev/null has no key."),
        ({"MBUILD_API_KEY": "two words"}, "MBUILD_API_KEY is not a key of printable ASCII without spaces."),
        ({"MBUILD_CORS_ORIGINS": "app.example.com"}, "MBUILD_CORS_ORIGINS: 'app.example.com' is not an origin"),
        ({"MBUILD_TLS_CERT": "/absent.pem"}, "MBUILD_TLS_KEY is not set, but MBUILD_TLS_CERT is"),
        ({"MBUILD_SETTINGS": "/absent"}, "MBUILD_SETTINGS: /absent cannot be read: "),
    ],
)
def test_what_is_set_wrong_is_one_sentence(
    server_source: Path, models: Path, environ: dict[str, Any], message: str
) -> None:
    assert refused(server_source, models, **environ).startswith(message)


def test_a_mounted_file_of_settings(server_source: Path, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text(f'# mounted\nMBUILD_API_KEY="{ALICE}"\nMBUILD_MAX_BODY=100\nMBUILD_PORT=1\nMBUILD_QUEU=3\n')
    with serving(server_source, models, MBUILD_SETTINGS=str(file), MBUILD_PORT="0") as server:
        assert server.event("not settings of this server")["message"].endswith("ignored: MBUILD_QUEU")
        assert ask(server.address, "GET", "/v2").status == 401
        assert ask(server.address, "POST", QUICK, b"x" * 101, bearer(ALICE)).status == 413
        file.write_text(f"MBUILD_PORT={server.port}\n")
        assert run(server_source, models, "health", MBUILD_SETTINGS=str(file), MBUILD_PORT="").returncode == 0


def test_the_document_says_how_keys_travel(locked: RunningServer) -> None:
    document = ask(locked.address, "GET", "/openapi.json", headers=bearer(ALICE)).json()
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            wants_key = ask(locked.address, method.upper(), path, {} if method == "post" else None).status == 401
            assert ("security" in operation, "401" in operation["responses"]) == (wants_key, wants_key), path
