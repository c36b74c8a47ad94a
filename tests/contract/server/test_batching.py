"""Requests that wait together run together, and nobody can tell by the answer.

A delay that would never end holds requests back until a run is full: what runs together does not depend on the clock.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.support.onnx_models import (
    centred,
    convolved,
    dynamically_quantised,
    identity,
    looked_up,
    mlp,
    place,
    two_inputs,
)
from tests.support.servers import Answer, ask, running

LENGTH = "Inference-Header-Content-Length"
FOUR = {"MBUILD_MAX_BATCH": "4", "MBUILD_BATCH_DELAY": "3600", "MBUILD_THREADS": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    some = GoldenCase(name="some", inputs={"x": np.array([[1, -2, 3, 0.5]], np.float32)}, outputs={})
    place(folder, "mlp", mlp())
    place(folder, "table", looked_up())
    place(folder, "shapes", identity("FP32"))
    place(folder, "texts", identity("BYTES", ("n",)))
    place(folder, "left", identity("FP32", ("n",)))
    place(folder, "two", two_inputs())
    place(folder, "half", identity("FP16", ("n", 2)))
    place(folder, "brain", identity("BF16", ("n", 2)))
    place(folder, "fixed", identity("FP32", (1,)))
    place(folder, "scalar", identity("FP32", ()))
    place(folder, "centred", centred(), cases=(some,))
    place(folder, "quantised", dynamically_quantised(), cases=(some,))
    return folder


@pytest.fixture(scope="module")
def held_back(server_source: Path, models: Path) -> Iterator[str]:
    """A server whose runs begin when they have four rows."""
    with running(server_source, models, **FOUR) as server:
        yield server.ready().address
        server.send_signal()
        assert server.exit_code() == 0
        assert not server.stray


def infer(address: str, model: str, datatype: str, shape: list[int], values: list[Any], **more: Any) -> Answer:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": values}
    return ask(address, "POST", f"/v2/models/{model}/infer", {"inputs": [tensor], **more})


def at_once(*calls: tuple[Any, ...]) -> list[Answer]:
    with ThreadPoolExecutor(len(calls)) as clients:
        return [each.result() for each in [clients.submit(infer, *call) for call in calls]]


def statistics(address: str, model: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(address, "GET", f"/v2/models/{model}/stats").json()["model_stats"][0]
    return found


def sizes(address: str, model: str) -> dict[int, int]:
    """How many runs of how many rows."""
    return {each["batch_size"]: each["compute_infer"]["count"] for each in statistics(address, model)["batch_stats"]}


def batching(address: str, model: str) -> str:
    return str(ask(address, "GET", f"/v2/models/{model}/config").json()["parameters"]["batching"]["string_value"])


def data(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    values: list[Any] = answer.json()["outputs"][0]["data"]
    return values


def test_four_requests_are_one_run_and_each_has_its_own_rows(held_back: str) -> None:
    rows = [[float(i), 1.0, -2.0, 0.25 * i] for i in range(4)]
    answers = at_once(*((held_back, "mlp", "FP32", [1, 4], row) for row in rows))
    whole = infer(held_back, "mlp", "FP32", [4, 4], [number for row in rows for number in row])
    together = np.array(data(whole)).reshape(4, 3)
    for answer, expected in zip(answers, together, strict=True):
        assert answer.json()["outputs"][0]["shape"] == [1, 3]
        assert np.allclose(data(answer), expected, rtol=1e-5)
    assert sizes(held_back, "mlp") == {4: 2}
    found = statistics(held_back, "mlp")
    assert (found["inference_count"], found["execution_count"]) == (8, 2)
    assert found["inference_stats"]["success"]["count"] == 5
    metrics = ask(held_back, "GET", "/metrics").body
    assert b'nv_inference_count{model="mlp",version="1"} 8\n' in metrics
    assert b'nv_inference_exec_count{model="mlp",version="1"} 2\n' in metrics


def test_a_bad_request_does_not_fail_its_neighbours(held_back: str) -> None:
    answers = at_once(*((held_back, "table", "INT64", [1, 1], [row]) for row in (1, 999, 3, 4)))
    assert [answer.status for answer in answers] == [200, 400, 200, 200]
    assert [data(answers[i]) for i in (0, 2, 3)] == [[2, 3], [6, 7], [8, 9]]
    assert sizes(held_back, "table") == {1: 3}
    assert statistics(held_back, "table")["inference_stats"]["fail"]["count"] == 1


def test_other_shapes_and_other_outputs_are_other_runs(held_back: str) -> None:
    narrow = [(held_back, "shapes", "FP32", [2, 1], [i, i]) for i in range(2)]
    wide = [(held_back, "shapes", "FP32", [2, 2], [i, i, i, i]) for i in range(2)]
    answers = at_once(*(each for pair in zip(narrow, wide, strict=True) for each in pair))
    assert [data(answer) for answer in answers] == [[0, 0], [0] * 4, [1, 1], [1] * 4]
    assert sizes(held_back, "shapes") == {4: 2}


def test_strings_are_put_together_too(held_back: str) -> None:
    words = ["", "caffè", "x" * 1000, "日本"]
    answers = at_once(*((held_back, "texts", "BYTES", [1], [word]) for word in words))
    assert [data(answer) for answer in answers] == [[word] for word in words]
    assert sizes(held_back, "texts") == {4: 1}


def test_who_left_is_not_run_and_the_others_are(held_back: str) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [9]}]})
    whole = f"POST /v2/models/left/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    host, port = held_back.split(":")
    pending = b'nv_inference_pending_request_count{model="left",version="1"} '
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(whole)
        while pending + b"1" not in ask(held_back, "GET", "/metrics").body:
            time.sleep(0.005)
    answers = at_once(*((held_back, "left", "FP32", [1], [i]) for i in range(3)))
    assert [data(answer) for answer in answers] == [[0], [1], [2]]
    assert sizes(held_back, "left") == {3: 1}
    failed = b'nv_inference_request_failure{model="left",version="1",reason="CANCELED"} 1\n'
    metrics = ask(held_back, "GET", "/metrics").body
    assert failed in metrics and pending + b"0" in metrics


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fixed", "off: input 'x' [1] has no batch dim"),
        ("scalar", "off: input 'x' [] has no batch dim"),
        ("two", "off: the first dims of its inputs differ: k, n"),
        ("centred", "off: output 'y' of a row depends on the rows beside it"),
        ("quantised", "off: output 'y' of a row depends on the rows beside it"),
        ("mlp", "on"),
        ("texts", "on"),
    ],
)
def test_the_configuration_says_whether_and_why_not(held_back: str, model: str, reason: str) -> None:
    assert batching(held_back, model) == reason
    config = ask(held_back, "GET", f"/v2/models/{model}/config").json()
    assert ("dynamic_batching" in config) == (model == "mlp")  # Triton knows no batch of tensors with one dim
    if reason == "on":
        assert config["parameters"]["max_batch"] == {"string_value": "4"}
        assert config["parameters"]["batch_delay_microseconds"] == {"string_value": "3600000000"}


def test_a_stop_ends_the_delay(server_source: Path, models: Path) -> None:
    with running(server_source, models, **FOUR) as server:
        address = server.ready().address
        with ThreadPoolExecutor(1) as client:
            waiting = client.submit(infer, address, "texts", "BYTES", [1], ["held back"])
            pending = b'nv_inference_pending_request_count{model="texts",version="1"} 1'
            while pending not in ask(address, "GET", "/metrics").body:
                time.sleep(0.005)
            server.send_signal()
            assert data(waiting.result()) == ["held back"]
        assert server.exit_code() == 0


def test_what_depends_on_its_neighbours_runs_alone(held_back: str) -> None:
    answers = at_once(*((held_back, "centred", "FP32", [1, 4], [i, i, i, i]) for i in range(3)))
    assert [data(answer) for answer in answers] == [[0, 0, 0, 0]] * 3
    assert sizes(held_back, "centred") == {1: 3}


@pytest.mark.parametrize(("model", "datatype"), [("half", "FP16"), ("brain", "BF16")])
def test_half_precision_is_put_together(held_back: str, model: str, datatype: str) -> None:
    contents = [bytes([number, 0x3C, 0, 0x40 + number]) for number in range(4)]
    tensor = {"name": "x", "datatype": datatype, "shape": [1, 2], "parameters": {"binary_data_size": 4}}
    asked = {"inputs": [tensor], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    text = json.dumps(asked).encode()
    headers = {LENGTH: str(len(text))}
    with ThreadPoolExecutor(4) as clients:
        path = f"/v2/models/{model}/infer"
        calls = [clients.submit(ask, held_back, "POST", path, text + content, headers) for content in contents]
        answers = [call.result() for call in calls]
    assert [answer.body[int(answer.headers[LENGTH.lower()]) :] for answer in answers] == contents
    assert sizes(held_back, model) == {4: 1}


def test_the_bound_of_a_dim_bounds_batches(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "few", identity("FP32", ("n", "k")), manifest={"settings": {"dims": {"n": 2, "k": 9}}})
    with running(server_source, tmp_path) as server:
        config = ask(server.ready().address, "GET", "/v2/models/few/config").json()
        assert (config["max_batch_size"], config["parameters"]["max_batch"]["string_value"]) == (2, "2")


def test_a_delay_ends_and_the_model_may_say_how_it_batches(server_source: Path, tmp_path: Path) -> None:
    settings = {"batching": {"max_batch": 3, "delay_seconds": 3600, "preferred": [2]}}
    place(tmp_path, "pairs", identity("FP32", ("n",)), manifest={"settings": settings})
    place(tmp_path, "usual", identity("FP32", ("n",)), manifest={"settings": {}})
    with running(server_source, tmp_path, MBUILD_THREADS="1") as server:
        address = server.ready().address
        assert batching(address, "usual") == "on"
        answers = at_once(*((address, "pairs", "FP32", [1], [i]) for i in range(2)))
        assert [data(answer) for answer in answers] == [[0], [1]]
        assert sizes(address, "pairs") == {2: 1}
        assert data(infer(address, "pairs", "FP32", [5], [1, 2, 3, 4, 5])) == [1, 2, 3, 4, 5]
        assert sizes(address, "pairs") == {2: 1, 5: 1}
    short = {"MBUILD_BATCH_DELAY": "0.05", "MBUILD_BATCH_SIZES": "3", "MBUILD_MAX_BATCH": "4"}
    with running(server_source, tmp_path, **short) as server:
        assert data(infer(server.ready().address, "pairs", "FP32", [1], [7])) == [7]
    with running(server_source, tmp_path, MBUILD_MAX_BATCH="1") as server:
        assert batching(server.ready().address, "pairs") == "off: max_batch is 1"


def test_where_nobody_asks_for_batches_they_must_be_worth_it(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "convolved", convolved())
    place(tmp_path, "mlp", mlp())
    with running(server_source, tmp_path) as server:
        address = server.ready().address
        assert batching(address, "mlp") == "on"
        event = server.event("batching")
        assert event["model"] == "convolved"
        assert event["batching"] == "off: several rows take as long as one after the other; max_batch turns it on"
        assert batching(address, "convolved") == event["batching"]
    with running(server_source, tmp_path, MBUILD_MAX_BATCH="8") as server:
        assert batching(server.ready().address, "convolved") == "on"


def test_settings_without_sense_are_named(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "odd", identity("FP32", ("n",)), manifest={"settings": {"batching": {"max_batch": "many"}}})
    with running(server_source, tmp_path) as server:
        assert server.exit_code() == 1
        assert "settings.batching is wrong" in server.events[-1]["message"]
