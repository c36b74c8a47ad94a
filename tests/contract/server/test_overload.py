"""More than the server can do: what waits too long is refused when its time is over, who has left makes place."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.onnx_models import place, slow
from tests.support.servers import Answer, RunningServer, ask, running

SLOW = "/v2/models/slow/infer"
ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


@pytest.fixture(scope="module")
def second_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("second-long")
    place(models, "slow", slow(1800))
    return models


@pytest.fixture
def busy(server_source: Path, second_long: Path) -> Iterator[RunningServer]:
    """One thread, and at most two requests."""
    with running(server_source, second_long, MBUILD_THREADS="1", MBUILD_QUEUE="2") as server:
        yield server.ready()


def counter(address: str, name: str, **labels: str) -> int:
    text = ask(address, "GET", "/metrics").body.decode()
    wanted = "".join(f'[^}}]*{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{name}{{{wanted}[^}}]*}} (\d+)", text, re.MULTILINE)
    assert found, f"no {name} {labels} in {text}"
    return int(found[1])


def until(address: str, number: int, name: str, **labels: str) -> None:
    end = time.monotonic() + 30
    while counter(address, name, **labels) != number:
        assert time.monotonic() < end, f"{name} {labels} never was {number}"
        time.sleep(0.005)


PENDING = "nv_inference_pending_request_count"
FAILURE = "nv_inference_request_failure"
SUCCESS = "nv_inference_request_success"


def test_a_request_has_its_answer_at_its_own_deadline_though_no_thread_is_free(busy: RunningServer) -> None:
    hurried = {**ONE, "parameters": {"timeout": 1000}}
    with ThreadPoolExecutor(1) as client:
        first = client.submit(ask, busy.address, "POST", SLOW, ONE)
        until(busy.address, 1, PENDING)
        answer = ask(busy.address, "POST", SLOW, hurried)
        assert not first.done()
        assert (answer.status, answer.error) == (503, "Request timeout expired")
        assert answer.headers["retry-after"] == "1"
        assert counter(busy.address, FAILURE, reason="REJECTED") == 1
        assert first.result().status == 200
    assert counter(busy.address, "nv_inference_exec_count") == 1


def test_a_deadline_that_is_far_away_changes_nothing(busy: RunningServer) -> None:
    assert ask(busy.address, "POST", SLOW, {**ONE, "parameters": {"timeout": 2**63}}).status == 200


@pytest.mark.parametrize("timeout", [-1, 1.5, "1000", True, 2**64])
def test_a_timeout_that_is_none_is_refused(address: str, timeout: Any) -> None:
    answer = ask(address, "POST", SLOW, {**ONE, "parameters": {"timeout": timeout}})
    assert answer.status == 400 and "parameter timeout must be a whole number" in answer.error


def test_the_queues_deadline_is_kept_though_no_thread_is_free(server_source: Path, second_long: Path) -> None:
    with running(server_source, second_long, MBUILD_THREADS="1", MBUILD_QUEUE_TIMEOUT="0.02") as server:
        address = server.ready().address
        with ThreadPoolExecutor(1) as client:
            first = client.submit(ask, address, "POST", SLOW, ONE)
            until(address, 1, PENDING)
            answer = ask(address, "POST", SLOW, ONE)
            assert not first.done()
            assert answer.status == 503 and "MBUILD_QUEUE_TIMEOUT" in answer.error
            assert first.result().status == 200


def test_a_client_that_left_makes_place_before_a_thread_is_free(busy: RunningServer) -> None:
    body = json.dumps(ONE).encode()
    whole = f"POST {SLOW} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    host, port = busy.address.split(":")
    with ThreadPoolExecutor(1) as client:
        first = client.submit(ask, busy.address, "POST", SLOW, ONE)
        until(busy.address, 1, PENDING)
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(whole)
            until(busy.address, 2, PENDING)
        third = socket.create_connection((host, int(port)), timeout=30)
        while not counter(busy.address, FAILURE, reason="CANCELED"):
            assert not first.done(), "the place was not free before the thread was"
            third.sendall(whole)
            third.setblocking(False)
            try:
                refused = third.recv(4096)
                assert refused.startswith(b"HTTP/1.1 503 ")
            except BlockingIOError:
                pass
            third.setblocking(True)
            time.sleep(0.02)
        assert first.result().status == 200
        third.close()


def test_at_four_times_what_it_takes_nothing_fails_but_by_503(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "slow", slow(500))
    deadline = 0.1
    limits = {"MBUILD_THREADS": "2", "MBUILD_QUEUE": "8", "MBUILD_QUEUE_TIMEOUT": str(deadline)}
    with running(server_source, tmp_path, **limits) as server:
        address = server.ready().address

        def load(_: int) -> list[int]:
            connection = http.client.HTTPConnection(address, timeout=30)
            statuses = []
            for _ in range(12):
                connection.request("POST", SLOW, json.dumps(ONE))
                response = connection.getresponse()
                answer = Answer(response.status, dict(response.getheaders()), response.read())
                assert answer.status == 200 or answer.headers["Retry-After"] == "1"
                statuses.append(answer.status)
            connection.close()
            return statuses

        with ThreadPoolExecutor(32) as clients:
            statuses = Counter(status for found in clients.map(load, range(32)) for status in found)
        assert set(statuses) == {200, 503}
        assert counter(address, SUCCESS) == statuses[200] == counter(address, "nv_inference_exec_count")
        assert counter(address, FAILURE, reason="REJECTED") == statuses[503]
        assert counter(address, PENDING) == 0
        # Nothing ran that had waited for longer.
        assert counter(address, "nv_inference_queue_duration_us") <= statuses[200] * deadline * 1e6
        server.send_signal()
        assert server.exit_code() == 0
        assert not [event for event in server.events if event["level"] == "error"]
