"""From start to end: what the server says about itself is true, and a signal loses nothing."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.support.golden import Golden
from tests.support.onnx_models import identity, mlp, place, slow
from tests.support.servers import ask, command, exchange, refused, run, running
from tests.support.waiting import until

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
SLOW = "/v2/models/slow/infer"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def test_without_models_it_is_live_and_never_ready(server_source: Path, models: Path) -> None:
    with running(server_source, models) as server:
        server.event("no models in")
        assert ask(server.address, "GET", "/v2/health/live").status == 200
        assert ask(server.address, "GET", "/v2/health/ready").status == 503
        health = run(server_source, models, "health", MBUILD_PORT=str(server.port))
        assert health.returncode == 1
        assert ask(server.address, "POST", SLOW, ONE).status == 503
        server.send_signal(signal.SIGINT)
        assert server.exit_code() == 0


def test_the_start_line_says_what_runs(server_source: Path, models: Path) -> None:
    place(models, "mlp", mlp())
    with running(server_source, models, MBUILD_THREADS="3", MBUILD_SERVER_NAME="triton") as server:
        line = server.event("ready")
        batching = {"batching": "on", "max_batch": "8"}
        assert line["models"] == [{"name": "mlp", "version": "1", "provider": "CPUExecutionProvider", **batching}]
        assert line["threads"] == 3 and line["onnxruntime"] == "1.31.1"
        assert all(line[f"seconds_{part}"] >= 0 for part in ("imports", "sessions", "warm_up"))
        assert ask(server.address, "GET", "/v2").json()["name"] == "triton", "for clients that insist on it"
        health = run(server_source, models, "health", MBUILD_PORT=str(server.port))
        assert (health.returncode, health.stderr) == (0, "")


def test_a_broken_graph_ends_the_process_with_a_sentence(server_source: Path, models: Path) -> None:
    folder = place(models, "broken", mlp())
    (folder / "1" / "model.onnx").write_bytes(b"\x08\x07not a graph")
    assert refused(server_source, models).startswith("Model 'broken' (")
    assert "traceback" in run(server_source, models, MBUILD_LOG_LEVEL="debug").stderr


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"signature": {"inputs": [{"name": "z", "datatype": "FP32", "shape": [1]}], "outputs": []}}, "does not have"),
        ({"signature": {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1]}], "outputs": []}}, "has FP32 [-1]"),
        (
            {"signature": {"inputs": [{"name": "x", "datatype": "FP32", "shape": ["n"]}]}},
            "signature.outputs is not as expected",
        ),
        ({"schema": 2}, "is not of schema 1"),
        ({"settings": {"providers": ["CUDAExecutionProvider"]}}, "which this onnxruntime does not have"),
    ],
)
def test_a_manifest_that_does_not_fit(server_source: Path, models: Path, manifest: Any, sentence: str) -> None:
    place(models, "m", identity("FP32", ("n",)), manifest=manifest)
    assert sentence in refused(server_source, models)


def test_warm_up_compares_with_the_golden_case(server_source: Path, models: Path) -> None:
    array = np.array([1, 2], np.float32)
    case = GoldenCase(name="wrong", inputs={"x": array}, outputs={"y": array + 1})
    tolerance = {"tolerance": {"absolute": 0.5, "relative": 0, "outputs": {}}}
    place(models, "m", identity("FP32", ("n",)), manifest=tolerance, cases=(case,))
    message = refused(server_source, models)
    assert (
        "golden case 'wrong': output 'y' differs by more than absolute 0.5 and relative 0: at [0] 1.0 instead of 2.0"
        in message
    )


@pytest.mark.parametrize("datatype", ["BYTES", "BF16", "FP16"])
def test_golden_cases_of_every_kind_warm_up(server_source: Path, models: Path, datatype: str) -> None:
    array = {
        "BYTES": np.array([["a", "é"]], dtype=object),
        "BF16": np.array([[1, 2]], np.uint16),
        "FP16": np.ones((1, 2), np.float16),
    }[datatype]
    case = GoldenCase(name="c", inputs={"x": array}, outputs={"y": array})
    place(models, "m", identity(datatype), manifest={"tolerance": {"absolute": 0, "relative": 0}}, cases=(case,))
    with running(server_source, models) as server:
        server.ready()


def test_wrong_settings_name_the_variable(server_source: Path, models: Path) -> None:
    assert refused(server_source, models, MBUILD_PORT="eighty").startswith("MBUILD_PORT (port to listen on")
    assert "from 0 to 65535" in refused(server_source, models, MBUILD_PORT="65536")
    assert "MBUILD_LOG_LEVEL" in refused(server_source, models, MBUILD_LOG_LEVEL="loud")
    assert "cannot be read" in refused(server_source, models / "absent")


def test_threads_that_cannot_be_had_end_the_process(server_source: Path, models: Path) -> None:
    place(models, "mlp", mlp())
    line, surroundings = command(server_source, models, MBUILD_THREADS="1024")
    stacks_of_some = f"--as={3 * 2**30}"
    finished = subprocess.run(["prlimit", stacks_of_some, *line], env=surroundings, capture_output=True, timeout=30)
    last = json.loads(finished.stderr.splitlines()[-1])
    assert finished.returncode == 1 and b"Traceback" not in finished.stderr
    assert last["message"].startswith("Cannot start 1024 inference threads (MBUILD_THREADS")


IPV6 = Path("/proc/net/if_inet6")
LOOPBACKS = ["127.0.0.1", "::1"] if IPV6.exists() and f"{1:032x} " in IPV6.read_text() else ["127.0.0.1"]


@pytest.mark.parametrize("client", LOOPBACKS)
def test_it_listens_on_every_address(server_source: Path, models: Path, client: str) -> None:
    with (
        running(server_source, models, MBUILD_HOST="") as server,
        socket.create_connection((client, server.port), timeout=10) as connection,
    ):
        connection.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_port_in_use_is_named(server_source: Path, models: Path, golden: Golden) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(server_source, models, MBUILD_PORT=str(port))
    golden("errors/port-in-use.txt", message.replace(str(port), "<PORT>") + "\n")


def test_an_unknown_command(server_source: Path, models: Path) -> None:
    assert run(server_source, models, "train").returncode == 2


@pytest.mark.parametrize("processes", ["1", "2"])
def test_sigterm_under_load_loses_no_accepted_request(server_source: Path, models: Path, processes: str) -> None:
    place(models, "slow", slow())
    place(models, "quick", identity("FP32", (1,)))
    answered, lost = [], []
    with running(server_source, models, MBUILD_PROCESSES=processes) as server:
        address = server.ready().address
        stop_at = time.monotonic() + 60

        def load(path: str) -> None:
            connection = http.client.HTTPConnection(address, timeout=20)
            while time.monotonic() < stop_at:
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
                        if response.will_close:
                            break
                except OSError as error:
                    lost.append(repr(error))
                finally:
                    connection.close()

        with ThreadPoolExecutor(12) as clients:
            for number in range(12):
                clients.submit(load, SLOW if number % 3 == 0 else "/v2/models/quick/infer")
            until(lambda: len(answered) > 50)
            server.send_signal()
            assert server.exit_code() == 0
        assert server.event("stopped")["unanswered"] == 0
    assert not lost
    assert set(answered) == {200}


def test_readiness_goes_first(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1200))
    with running(server_source, models, MBUILD_THREADS="1") as server:
        host, port = server.ready().address.split(":")
        with ThreadPoolExecutor(4) as clients:
            probe = socket.create_connection((host, int(port)))
            waiting = [clients.submit(ask, server.address, "POST", SLOW, ONE) for _ in range(4)]
            time.sleep(0.05)
            server.send_signal()
            server.event("stopping")
            probe.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert probe.recv(4096).startswith(b"HTTP/1.1 503 ")
            probe.close()
            assert [each.result().status for each in waiting] == [200] * 4
        assert server.exit_code() == 0


def test_a_grace_period_that_is_over_ends_the_process(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1500))
    with running(server_source, models, MBUILD_GRACE_SECONDS="0.2", MBUILD_THREADS="1") as server:
        address = server.ready().address
        clients = [threading.Thread(target=_ignore, args=(address,), daemon=True) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        started = time.monotonic()
        server.send_signal()
        assert server.exit_code() == 0
        assert time.monotonic() - started < 3


def _ignore(address: str) -> None:
    try:
        ask(address, "POST", SLOW, ONE)
    except (OSError, http.client.HTTPException):
        return


def test_overload_is_refused_at_once(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1200))
    with running(server_source, models, MBUILD_QUEUE="2", MBUILD_THREADS="1") as server:
        address = server.ready().address
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _: ask(address, "POST", SLOW, ONE), range(8)))
        statuses = {answer.status for answer in answers}
        assert statuses == {200, 503}
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 503)
        assert b'reason="REJECTED"} 0' not in ask(address, "GET", "/metrics").body


def test_a_wait_has_an_end_and_clients_that_left_cost_nothing(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1200))
    with running(server_source, models, MBUILD_QUEUE_TIMEOUT="0.05", MBUILD_THREADS="1") as server:
        host, port = server.ready().address.split(":")
        body = json.dumps(ONE).encode()
        whole = f"POST {SLOW} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        for _ in range(3):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(whole)
                time.sleep(0.01)
        idle = b'nv_inference_pending_request_count{model="slow",version="1"} 0'
        while idle not in ask(server.address, "GET", "/metrics").body:
            time.sleep(0.02)
        with ThreadPoolExecutor(6) as clients:
            statuses = [a.status for a in clients.map(lambda _: ask(server.address, "POST", SLOW, ONE), range(6))]
        assert 503 in statuses and 200 in statuses
        metrics = ask(server.address, "GET", "/metrics").body
        assert b'reason="CANCELED"} 0' not in metrics
        assert idle in metrics


def test_a_slow_client_does_not_slow_the_others(server_source: Path, models: Path) -> None:
    place(models, "quick", identity("FP32", (1,)))
    with running(server_source, models, MBUILD_HEAD_TIMEOUT="60") as server:
        address = server.ready().address
        ending = threading.Event()

        def drip() -> None:
            host, port = address.split(":")
            with socket.create_connection((host, int(port))) as connection:
                for byte in b"POST /v2/models/quick/infer HTTP/1.1\r\nHost: a\r\n" * 100:
                    connection.sendall(bytes([byte]))
                    if ending.wait(0.05):
                        return

        slow_ones = [threading.Thread(target=drip) for _ in range(50)]
        for each in slow_ones:
            each.start()
        connection = http.client.HTTPConnection(address, timeout=30)
        for _ in range(200):
            connection.request("POST", "/v2/models/quick/infer", json.dumps(ONE))
            assert connection.getresponse().read().startswith(b'{"model_name":"quick"')
        connection.close()
        assert all(each.is_alive() for each in slow_ones), "they were answered while the slow ones still sent"
        ending.set()
        for each in slow_ones:
            each.join()


def test_health_answers_while_models_work(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1500))
    with running(server_source, models, MBUILD_THREADS="1") as server:
        address = server.ready().address
        with ThreadPoolExecutor(4) as clients:
            waiting = [clients.submit(ask, address, "POST", SLOW, ONE) for _ in range(4)]
            assert ask(address, "GET", "/v2/health/live").status == 200
            assert not all(each.done() for each in waiting)
            assert [each.result().status for each in waiting] == [200] * 4


def test_too_many_connections_are_turned_away(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_MAX_CONNECTIONS="2") as server:
        host, port = server.address.split(":")
        server.event("no models")
        kept = [socket.create_connection((host, int(port))) for _ in range(2)]
        time.sleep(0.1)
        assert exchange(server.address).startswith(b"HTTP/1.1 503 ")
        for each in kept:
            each.close()


def test_it_writes_nothing(server_source: Path, models: Path, tmp_path: Path) -> None:
    place(models, "mlp", mlp())
    before = {path: path.stat().st_mtime_ns for path in (*models.rglob("*"), *server_source.rglob("*"))}
    with running(server_source, models, TMPDIR=str(tmp_path / "absent")) as server:
        server.ready()
        targets = {str(path.readlink()) for path in Path(f"/proc/{server.process.pid}/fd").iterdir()}
        assert not {target for target in targets if target.startswith(("/tmp", "/var", "/home"))} - set(
            map(str, before)
        )
        server.send_signal()
        assert server.exit_code() == 0
    assert before == {path: path.stat().st_mtime_ns for path in (*models.rglob("*"), *server_source.rglob("*"))}


def test_a_tensor_without_elements_leaves_nothing_to_write(server_source: Path, models: Path) -> None:
    place(models, "line", identity("FP32", ("n",)))
    empty = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0], "data": []}]}
    binary = {**empty, "parameters": {"binary_data_output": True}}
    with running(server_source, models) as server:
        client = http.client.HTTPConnection(server.ready().address)
        client.request("POST", "/v2/models/line/infer", json.dumps(binary))
        assert client.getresponse().read()
        server.send_signal()
        assert server.exit_code(seconds=5) == 0
        client.close()


def test_no_connection_that_was_made_is_reset_by_the_stop(server_source: Path, models: Path) -> None:
    place(models, "mlp", mlp())
    for _ in range(3):
        with running(server_source, models) as server:
            port, over, lost = server.ready().port, threading.Event(), []

            def connect(port: int = port, over: threading.Event = over, lost: list[str] = lost) -> None:
                while not over.is_set():
                    try:
                        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                    except OSError:
                        time.sleep(0.001)
                        continue
                    try:
                        connection.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
                        if not connection.recv(100):
                            lost.append("nothing came")
                    except OSError as error:
                        lost.append(str(error))
                    connection.close()

            with ThreadPoolExecutor(6) as pool:
                for _ in range(6):
                    pool.submit(connect)
                time.sleep(0.3)
                server.send_signal()
                assert server.exit_code() == 0
                over.set()
            assert lost == []


def test_the_pages_can_be_left_out(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_UI="0") as server:
        server.event("no models")
        for path in ("/", "/docs", "/ui/style.css"):
            assert ask(server.address, "GET", path).status == 404
        assert ask(server.address, "GET", "/openapi.json").status == 200
