"""TLS and mutual TLS: the protocol works through it unchanged, certificates renew, and a stop loses nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from tests.support.certificates import ServerCertificate, make_certificate, sign_client
from tests.support.onnx_models import identity, place, slow
from tests.support.servers import RunningServer, ask, refused, run, running

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
QUICK = "/v2/models/quick/infer"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "quick", identity("FP32", ("n",)))
    place(folder, "slow", slow())
    return folder


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def client(certificate: ServerCertificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.certificate))


@contextmanager
def serving(source: Path, models: Path, certificate: ServerCertificate, **environ: str) -> Iterator[RunningServer]:
    files = {"MBUILD_TLS_CERT": str(certificate.certificate), "MBUILD_TLS_KEY": str(certificate.key)}
    with running(source, models, **files, **environ) as server:
        yield server.ready()


@pytest.fixture(scope="module")
def secure(server_source: Path, models: Path, certificate: ServerCertificate) -> Iterator[RunningServer]:
    with serving(server_source, models, certificate, MBUILD_HEAD_TIMEOUT="1") as server:
        yield server
        server.send_signal()
        assert server.exit_code() == 0
        assert not server.stray and not [event for event in server.events if event["level"] == "error"]


@contextmanager
def connected(server: RunningServer, client: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        yield connection


def everything(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def plain(server: RunningServer, content: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(content)
        return everything(connection)


def test_tritonclient_with_an_authority_of_its_own(secure: RunningServer, certificate: ServerCertificate) -> None:
    with triton.InferenceServerClient(
        f"localhost:{secure.port}", ssl=True, ssl_options={"ca_certs": str(certificate.certificate)}
    ) as client:
        assert client.is_server_ready()
        for count in (1, 1000, 2_000_000):  # 8 MB: many records both ways
            array = np.arange(count, dtype=np.float32)
            tensor = triton.InferInput("x", [count], "FP32")
            tensor.set_data_from_numpy(array)
            assert np.array_equal(client.infer("quick", [tensor]).as_numpy("y"), array)
        compressed = client.infer("quick", [tensor], response_compression_algorithm="gzip")
        assert np.array_equal(compressed.as_numpy("y"), array)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_versions(secure: RunningServer, certificate: ServerCertificate, version: str) -> None:
    client = ssl.create_default_context(cafile=str(certificate.certificate))
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    client.set_alpn_protocols(["h2", "http/1.1"])
    with connected(secure, client) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() == version.replace("_", ".")
        connection.sendall(LIVE)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_older_versions_are_refused(secure: RunningServer, certificate: ServerCertificate) -> None:
    client = ssl.create_default_context(cafile=str(certificate.certificate))
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)), connected(secure, client):
        pass


def test_requests_in_one_record_or_in_many(secure: RunningServer, client: ssl.SSLContext) -> None:
    last = LIVE.replace(b"Host", b"Connection: close\r\nHost")
    with connected(secure, client) as connection:
        connection.sendall(LIVE * 20 + last)
        assert everything(connection).count(b"HTTP/1.1 200 OK") == 21
    with connected(secure, client) as connection:
        for byte in last:
            connection.sendall(bytes([byte]))
        assert everything(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_slow_reader_gets_a_long_last_answer_whole(secure: RunningServer, client: ssl.SSLContext) -> None:
    count = 2_000_000
    header = json.dumps(
        {
            "parameters": {"binary_data_output": True},
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [count], "parameters": {"binary_data_size": 4 * count}}
            ],
        }
    ).encode()
    body = header + np.arange(count, dtype=np.float32).tobytes()
    head = (
        f"POST {QUICK} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        f"Inference-Header-Content-Length: {len(header)}\r\n\r\n"
    )
    with connected(secure, client) as connection:
        connection.sendall(head.encode() + body)
        received = connection.recv(100)
        time.sleep(3)  # longer than a connection lingers that has nothing more to write
        received += everything(connection)
    assert received.endswith(body[len(header) :])


def test_a_client_that_says_goodbye_is_gone(secure: RunningServer, client: ssl.SSLContext) -> None:
    with connected(secure, client) as connection:
        connection.sendall(LIVE)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        connection.unwrap()


def test_who_speaks_plain_http_is_told_so(secure: RunningServer) -> None:
    body = b'{"inputs":[]}'
    answer = plain(secure, f"POST {QUICK} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request") and b"this port speaks TLS: ask by https://" in answer
    early = plain(secure, f"POST {QUICK} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".encode())
    assert early.startswith(b"HTTP/1.1 400 Bad Request")


def test_this_machine_may_ask_for_health_without_tls(secure: RunningServer) -> None:
    for path in ("live", "ready"):
        asked = f"GET /v2/health/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        assert plain(secure, asked).startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_handshake_harms_nobody(secure: RunningServer, client: ssl.SSLContext) -> None:
    assert plain(secure, b"\x00\x01garbage").startswith(b"HTTP/1.1 400 ")
    plain(secure, b"\x16\x03\x01\x00\x05garbage, no hello at all")
    secure.event("TLS handshakes failed")
    with socket.create_connection(("127.0.0.1", secure.port), timeout=20) as unfinished:
        unfinished.sendall(b"\x16\x03\x01\x02\x00")
        assert ask(secure.address, "GET", "/v2/health/live", tls=client).status == 200
        with contextlib.suppress(ConnectionError):
            assert unfinished.recv(10) == b""  # after MBUILD_HEAD_TIMEOUT


def test_clients_must_bring_a_certificate(
    server_source: Path, models: Path, certificate: ServerCertificate, client: ssl.SSLContext, tmp_path: Path
) -> None:
    ours = sign_client(tmp_path / "ours", certificate, "caller")
    other = make_certificate(tmp_path / "other")
    with serving(server_source, models, certificate, MBUILD_TLS_CLIENT_CA=str(certificate.certificate)) as server:
        assert server.event("listening")["tls"] == "mutual"
        known, unknown = (ssl.create_default_context(cafile=str(certificate.certificate)) for _ in range(2))
        known.load_cert_chain(ours.certificate, ours.key)
        unknown.load_cert_chain(other.certificate, other.key)
        assert ask(server.address, "POST", QUICK, ONE, tls=known).status == 200
        for each in (client, unknown):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                ask(server.address, "POST", QUICK, ONE, tls=each)
        assert "certificate" in server.event("TLS handshakes failed")["message"]
        health = run(server_source, models, "health", MBUILD_PORT=str(server.port))
        assert (health.returncode, health.stderr) == (0, "")


def serial(server: RunningServer) -> Any:
    seen = ssl.create_default_context()
    seen.check_hostname, seen.verify_mode = False, ssl.CERT_NONE
    with connected(server, seen) as connection:
        return connection.getpeercert(binary_form=True)


def test_renewed_certificates_serve_the_next_handshake(
    server_source: Path, models: Path, certificate: ServerCertificate, client: ssl.SSLContext, tmp_path: Path
) -> None:
    mounted = ServerCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")

    def put(files: ServerCertificate) -> None:
        for new, file in ((files.key, mounted.key), (files.certificate, mounted.certificate)):
            shutil.copyfile(new, f"{file}.new")
            Path(f"{file}.new").replace(file)

    put(certificate)
    with serving(server_source, models, mounted) as server, connected(server, client) as kept:
        first = serial(server)
        mounted.certificate.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
        warning = server.event("certificates stay as they were: MBUILD_TLS_CERT")
        assert warning["level"] == "warning" and serial(server) == first
        put(make_certificate(tmp_path / "next"))
        server.event("certificates were read again")
        assert serial(server) not in (first, None)
        kept.sendall(LIVE)
        assert kept.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_wrong_files_end_the_process_before_anything_is_loaded(
    server_source: Path, models: Path, certificate: ServerCertificate, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path)
    message = refused(
        server_source, models, MBUILD_TLS_CERT=str(certificate.certificate), MBUILD_TLS_KEY=str(other.key)
    )
    assert message.startswith("MBUILD_TLS_KEY: ") and "is not the key of the first certificate" in message


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_stop_under_load_loses_nothing(
    server_source: Path, models: Path, certificate: ServerCertificate, client: ssl.SSLContext, processes: str
) -> None:
    answered: list[int] = []
    lost: list[str] = []
    with serving(server_source, models, certificate, MBUILD_PROCESSES=processes) as server:
        address, over, busy = server.address, threading.Event(), threading.Semaphore(0)

        def load(path: str) -> None:
            while not over.is_set():
                connection = http.client.HTTPSConnection(address, timeout=20, context=client)
                try:
                    connection.connect()
                except OSError:
                    return  # not accepted: nothing was promised
                try:
                    while True:
                        connection.request("POST", path, json.dumps(ONE))
                        response = connection.getresponse()
                        response.read()
                        answered.append(response.status)
                        busy.release()
                        if response.will_close:
                            break
                except (OSError, http.client.HTTPException) as error:
                    lost.append(repr(error))
                finally:
                    connection.close()

        with ThreadPoolExecutor(12) as clients:
            for number in range(12):
                clients.submit(load, "/v2/models/slow/infer" if number % 3 == 0 else QUICK)
            for _ in range(100):
                busy.acquire(timeout=30)
            server.send_signal()
            assert server.exit_code() == 0
            over.set()
        assert server.event("stopped")["unanswered"] == 0
    assert not lost
    assert len(answered) >= 100 and set(answered) == {200}
