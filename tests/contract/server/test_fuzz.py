"""Requests that are almost right get 200 or 4xx from the running server, which stays up and does not grow."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.infer_bodies import DATATYPES, bodies
from tests.support.onnx_models import identity, place
from tests.support.raw_client import RawClient, post
from tests.support.servers import ask, resident_bytes, running

HEADER = "Inference-Header-Content-Length"


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


def test_memory_does_not_grow_over_a_hundred_thousand_requests(server_source: Path, tmp_path: Path) -> None:
    """Of every kind, right and wrong; many on one connection, some on one that breaks off."""
    place(tmp_path, "line", identity("FP32", ("n",)))
    place(tmp_path, "words", identity("BYTES", ("n",)))
    with running(server_source, tmp_path, MBUILD_MAX_BODY="20000") as server:
        address = server.ready().address
        random = Random(4)
        requests = [_request(random) for _ in range(5000)]
        statuses = _load(address, requests, 20_000, random)
        before = resident_bytes(server)
        statuses += _load(address, requests, 80_000, random)
        grown = resident_bytes(server) - before
        assert not [status for status in statuses if status >= 500]
        assert statuses[200] > 30_000 and statuses[400] > 20_000
        assert grown < 4_000_000, f"{grown} bytes over 80000 requests"


def _load(address: str, requests: list[bytes], count: int, random: Random) -> Counter[int]:
    """``count`` requests, a hundred at once."""
    statuses = Counter[int]()
    client = RawClient(address)
    for _ in range(count // 100):
        client.send(b"".join(random.choices(requests, k=100)))
        statuses.update(client.reply().status for _ in range(100))
        breaks_off = RawClient(address)
        breaks_off.send(random.choice(requests)[: random.randrange(200)] + b"\r\n\0\r\n\r\n" * random.randrange(2))
        breaks_off.close()
    client.close()
    return statuses


def _request(random: Random) -> bytes:
    count = random.randrange(1, 40)
    shape = [random.choice([count] * 8 + [count + 1, 2**63, -1])]
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": shape}
    kind = random.randrange(8)
    if kind < 2:
        entry["data"] = [random.random() for _ in range(count)] + ["text"] * (random.random() < 0.1)
        body = json.dumps({"inputs": [entry], **({"id": str(random.random())} if kind else {})}).encode()
        return post("/v2/models/line/infer", body)
    if kind < 4:
        entry["parameters"] = {"binary_data_size": 4 * count}
        text = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": kind == 3}}).encode()
        length = len(text) + random.choice([0, 0, 0, 0, 1, -1, 10**9])
        return post("/v2/models/line/infer", text + random.randbytes(4 * count), {HEADER: str(length)})
    if kind == 4:
        words = [random.choice(["ein", "zwei", "\ud800", "é"]) * random.randrange(4) for _ in range(count)]
        entry |= {"datatype": "BYTES", "data": words}
        return post("/v2/models/words/infer", json.dumps({"inputs": [entry]}).encode())
    if kind == 5:
        entry["data"] = [random.random() for _ in range(count)]
        packed = gzip.compress(json.dumps({"inputs": [entry]}).encode(), 1)
        coding = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
        return post("/v2/models/line/infer", packed[: len(packed) - (count % 3 == 0)], coding)
    if kind == 6:
        return post(f"/v2/models/{random.random()}/infer?{random.random()}", random.randbytes(count))
    return post("/v2/models/line/infer", random.randbytes(count), {f"X-{random.random()}": "1"})
