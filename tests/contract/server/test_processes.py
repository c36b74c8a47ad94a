"""Several processes behind one port are one server to whoever looks: counted, ready and ended together."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.onnx_models import identity, mlp, place
from tests.support.servers import RunningServer, ask, running

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})
INFER = "/v2/models/mlp/infer"
TWO = {"MBUILD_PROCESSES": "2"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "mlp", mlp())
    return folder


def workers(server: RunningServer) -> list[int]:
    pid = server.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sockets(pid: int) -> int:
    return sum(1 for each in Path(f"/proc/{pid}/fd").iterdir() if str(each.readlink()).startswith("socket:"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def metric(address: str, name: str) -> float:
    text = ask(address, "GET", "/metrics").body.decode()
    found = re.search(rf"^{name}(?:{{[^}}]*}})? ([\d.]+)$", text, re.MULTILINE)
    assert found, f"no {name} in {text}"
    return float(found[1])


def test_both_answer_and_whichever_is_asked_counts_for_both(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_THREADS="1", **TWO) as server:
        address = server.ready().address
        assert server.event("ready")["processes"] == 2
        before = {pid: sockets(pid) for pid in workers(server)}
        assert len(before) == 2
        clients: list[http.client.HTTPConnection] = []
        while not all(sockets(pid) > count for pid, count in before.items()):
            assert len(clients) < 1000, "one of the processes takes no connection"
            client = http.client.HTTPConnection(address, timeout=30)
            client.request("POST", INFER, BODY)
            assert client.getresponse().read()
            clients.append(client)
        for number in range(4):  # each on a connection of its own: any of the two may answer
            stats = ask(address, "GET", "/v2/models/mlp/stats").json()["model_stats"][0]
            assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] == len(clients), number
            assert stats["batch_stats"][0]["compute_infer"]["count"] == len(clients)
            assert metric(address, "nv_inference_request_success") == len(clients)
            assert metric(address, "mbuild_connections") >= len(clients)
        every = ask(address, "GET", "/v2/models/stats").json()["model_stats"]
        assert [each["name"] for each in every] == ["mlp"]
        # What they share is counted once.
        assert 0 < metric(address, "mbuild_memory_bytes") < metric(address, "process_resident_memory_bytes")
        for client in clients:
            client.close()
        server.send_signal()
        assert server.exit_code() == 0
        assert server.event("stopped")["unanswered"] == 0
        assert not server.stray


def test_ready_once_is_ready_whichever_answers(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_PROCESSES="3") as server:
        address = server.address
        until(lambda: ask(address, "GET", "/v2/health/ready").status == 200)
        assert {ask(address, "GET", "/v2/health/ready").status for _ in range(20)} == {200}
        assert metric(address, "mbuild_ready") == 1


def test_a_process_that_is_killed_ends_the_server_and_the_others_answer_first(
    server_source: Path, models: Path
) -> None:
    with running(server_source, models, **TWO) as server:
        server.ready()
        os.kill(workers(server)[0], signal.SIGKILL)
        assert server.exit_code() == 1
        line = server.event("a worker was ended by signal 9: the server stops")
        assert line["level"] == "error" and line["worker"] in (0, 1)
        assert server.event("worker: stopped")["unanswered"] == 0


def test_they_do_not_outlive_the_one_that_started_them(server_source: Path, models: Path) -> None:
    with running(server_source, models, **TWO) as server:
        server.ready()
        left = workers(server)
        server.send_signal(signal.SIGKILL)
        server.exit_code()
        until(lambda: not any(_runs(pid) for pid in left))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_model_that_does_not_load_ends_all(server_source: Path, tmp_path: Path) -> None:
    folder = place(tmp_path, "broken", identity("FP32"))
    (folder / "1" / "model.onnx").write_bytes(b"no graph")
    with running(server_source, tmp_path, **TWO) as server:
        assert server.exit_code(30) == 1
        assert server.event("Model 'broken'")["level"] == "error"


def test_the_queue_is_shared_out_and_full_is_full(server_source: Path, models: Path) -> None:
    """Held back for ever but for the queue's end: what is beyond the bound of both is refused at once."""
    held = {"MBUILD_BATCH_DELAY": "3600", "MBUILD_QUEUE": "4", "MBUILD_QUEUE_TIMEOUT": "1.5"}
    with running(server_source, models, **held, **TWO) as server:
        address = server.ready().address
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda _: ask(address, "POST", INFER, BODY), range(12)))
        assert {answer.status for answer in answers} == {503}
        late = [answer for answer in answers if "MBUILD_QUEUE_TIMEOUT" in answer.error]
        assert 1 <= len(late) <= 4
        assert len([answer for answer in answers if "(MBUILD_QUEUE)" in answer.error]) == 12 - len(late)
