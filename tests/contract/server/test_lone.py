"""Where runs happen: on the event loop of a lone client, on threads of everybody else; and how many threads one has."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.onnx_models import place, slow
from tests.support.servers import RunningServer, ask, running

SLOW = "/v2/models/slow/infer"
ONE = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})


def infer(connections: Sequence[http.client.HTTPConnection], times: int) -> None:
    """One request after the other, each on the next connection."""
    for number in range(times):
        connection = connections[number % len(connections)]
        connection.request("POST", SLOW, ONE)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()


def share_of_the_loop(server: RunningServer, connections: int, times: int) -> float:
    """How much of the processors' time the event loop's thread took."""
    process = Path("/proc") / str(server.process.pid) / "task"

    def spent() -> dict[str, int]:
        return {task.name: int((task / "schedstat").read_text().split()[0]) for task in process.iterdir()}

    clients = [http.client.HTTPConnection(server.address, timeout=30) for _ in range(connections)]
    infer(clients, 8)
    time.sleep(0.3)
    infer(clients, 4)
    before = spent()
    infer(clients, times)
    after = {name: nanoseconds - before.get(name, 0) for name, nanoseconds in spent().items()}
    for client in clients:
        client.close()
    return after[str(server.process.pid)] / sum(after.values())


@pytest.mark.parametrize(
    ("side", "connections", "times", "least", "most"),
    [(300, 1, 100, 0.8, 1.0), (300, 2, 100, 0.0, 0.5), (1400, 1, 5, 0.0, 0.2)],
    ids=["alone", "two who take turns", "alone with long runs"],
)
def test_only_short_runs_of_a_lone_client_stay_on_the_loop(
    server_source: Path, tmp_path: Path, side: int, connections: int, times: int, least: float, most: float
) -> None:
    place(tmp_path, "slow", slow(side))
    with running(server_source, tmp_path) as server:
        server.ready()
        assert least <= share_of_the_loop(server, connections, times) <= most


def test_a_run_has_as_many_threads_as_asked_for(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "slow", slow(100))
    threads = []
    for number in ("1", "4"):
        with running(server_source, tmp_path, MBUILD_RUN_THREADS=number, MBUILD_THREADS="1") as server:
            server.ready()
            assert ask(server.address, "POST", SLOW, json.loads(ONE)).status == 200
            threads.append(len(list((Path("/proc") / str(server.process.pid) / "task").iterdir())))
    assert threads[1] == threads[0] + 3
