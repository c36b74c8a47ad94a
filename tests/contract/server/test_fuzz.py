"""Requests that are almost right get 200 or 4xx from the running server, which stays up and does not grow."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.infer_bodies import DATATYPES, bodies
from tests.support.onnx_models import identity, place
from tests.support.servers import ask, resident_bytes, running


@given(st.sampled_from(DATATYPES), bodies(), st.binary(max_size=40), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_the_servers_mistake(
    address: str, datatype: str, body: dict[str, Any], binary: bytes, framed: bool
) -> None:
    text = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if framed else {}
    answer = ask(address, "POST", f"/v2/models/identity_{datatype}/infer", text + (binary if framed else b""), headers)
    assert answer.status in (200, 400, 413)
    assert answer.status == 200 or answer.error


def test_memory_does_not_grow(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "line", identity("FP32", ("n",)))
    wrong = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1] * 500}]})
    right = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [500], "data": [1] * 500}]})
    with running(server_source, tmp_path) as server:
        connection = http.client.HTTPConnection(server.ready().address, timeout=30)

        def send(count: int) -> None:
            for number in range(count):
                connection.request("POST", "/v2/models/line/infer", wrong if number % 2 else right)
                connection.getresponse().read()

        send(1000)
        before = resident_bytes(server)
        send(5000)
        connection.close()
        assert resident_bytes(server) - before < 4_000_000
