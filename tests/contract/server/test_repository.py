"""Models are loaded and unloaded while others serve, as Triton's explicit model control, where it is asked for."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.http as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from builder.model.golden import GoldenCase
from tests.support.onnx_models import identity, model_of, place, slow
from tests.support.servers import RunningServer, ask, resident_bytes, running
from tests.support.waiting import until

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2]}]}
TOLERANCE = {"tolerance": {"absolute": 0.1, "relative": 0}}
HANDLER = """
import words

def preprocess(inputs):
    return {"x": inputs["line"].astype("f4")}

def postprocess(outputs):
    return {"said": [words.WORD] * len(outputs["y"])}
"""


def scaled(factor: float) -> onnx.ModelProto:
    """y = x * factor: tells which of two models answered."""
    number = (TensorProto.FLOAT, (1,))
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    return model_of([node], {"x": number}, {"y": number}, {"w": np.array([factor], np.float32)})


def heavy() -> onnx.ModelProto:
    """64 MB of weights, of which it reads a row."""
    rows = np.zeros((4000, 4000), np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["w", "row"], ["y"]),
    ]
    return model_of(nodes, {"x": (TensorProto.FLOAT, (1,))}, {"y": (TensorProto.FLOAT, (1, 4000))}, {"w": rows})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    place(folder, "alpha", scaled(3))
    place(folder, "beta", scaled(5))
    place(folder, "gamma", scaled(7))
    return folder


@pytest.fixture
def server(server_source: Path, models: Path) -> Iterator[RunningServer]:
    """Starts with two of the three."""
    with running(server_source, models, MBUILD_REPOSITORY_API="1", MBUILD_LOAD_MODELS="alpha, beta") as server:
        yield server.ready()


def index(address: str, body: dict[str, Any] | None = None) -> dict[str, tuple[str, ...]]:
    """By name: state and reason."""
    listed = ask(address, "POST", "/v2/repository/index", body).json()
    return {each["name"]: tuple(each[key] for key in ("state", "reason") if key in each) for each in listed}


def change(address: str, name: str, what: str, body: Any = None) -> Any:
    return ask(address, "POST", f"/v2/repository/models/{name}/{what}", body)


def answer(address: str, name: str) -> float:
    return float(ask(address, "POST", f"/v2/models/{name}/infer", ONE).json()["outputs"][0]["data"][0])


def test_it_is_off_unless_asked_for(server_source: Path, models: Path) -> None:
    with running(server_source, models) as server:
        address = server.ready().address
        assert index(address) == dict.fromkeys(("alpha", "beta", "gamma"), ("READY", ""))
        for name, what in (("alpha", "unload"), ("alpha", "load"), ("absent", "load")):
            refused = change(address, name, what)
            assert refused.status == 503
            assert refused.error.startswith("explicit model load / unload is not allowed")
        assert answer(address, "alpha") == 6


def test_a_subset_to_start_with(server: RunningServer) -> None:
    address = server.address
    assert index(address) == {"alpha": ("READY", ""), "beta": ("READY", ""), "gamma": ()}
    assert set(index(address, {"ready": True})) == {"alpha", "beta"}
    absent = ask(address, "POST", "/v2/models/gamma/infer", ONE)
    assert (absent.status, absent.error) == (404, "Request for unknown model: 'gamma' has no available versions")
    assert ask(address, "GET", "/v2/models/gamma/ready").status == 404
    assert ask(address, "GET", "/v2/health/ready").status == 200


def test_a_subset_that_is_not_there_ends_the_process(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_LOAD_MODELS="alpha,delta") as server:
        assert server.exit_code() == 1
        server.event("There is no model 'delta' in")


def test_several_processes_would_not_agree(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_REPOSITORY_API="1", MBUILD_PROCESSES="2") as server:
        assert server.exit_code() == 1
        server.event("MBUILD_REPOSITORY_API is 1, which needs MBUILD_PROCESSES 1")


def test_tritons_own_client_loads_and_unloads(server: RunningServer) -> None:
    client = triton.InferenceServerClient(server.address)
    assert not client.is_model_ready("gamma")
    client.load_model("gamma")
    assert client.is_model_ready("gamma")
    assert answer(server.address, "gamma") == 14
    assert set(ask(server.address, "GET", "/openapi.json").json()["paths"]) >= {"/v2/models/gamma/infer"}
    client.unload_model("gamma")
    assert not client.is_model_ready("gamma")
    states = {each["name"]: each.get("state") for each in client.get_model_repository_index()}
    assert states["alpha"] == "READY" and states["gamma"] in ("UNLOADING", "UNAVAILABLE")
    until(lambda: index(server.address)["gamma"] == ("UNAVAILABLE", "unloaded"))
    with pytest.raises(InferenceServerException, match="failed to load 'absent'"):
        client.load_model("absent")
    with pytest.raises(InferenceServerException, match="parameters config are not taken"):
        client.load_model("alpha", config="{}")
    client.unload_model("absent")  # as Triton
    assert "/v2/models/gamma" not in ask(server.address, "GET", "/openapi.json").json()["paths"]
    assert b'model="gamma"' not in ask(server.address, "GET", "/metrics").body
    client.close()


def test_a_model_replaces_itself_without_a_gap(server: RunningServer, models: Path) -> None:
    address, over, wrong = server.address, threading.Event(), []

    def load() -> int:
        asked = 0
        while not over.is_set():
            asked += 1
            if answer(address, "alpha") not in (6, 22):
                wrong.append(asked)
        return asked

    with ThreadPoolExecutor(3) as clients:
        asking = [clients.submit(load) for _ in range(3)]
        onnx.save(scaled(11), models / "alpha" / "1" / "model.onnx")
        assert change(address, "alpha", "load").status == 200
        assert answer(address, "alpha") == 22
        over.set()
        assert all(each.result() for each in asking)
    assert not wrong


@pytest.mark.parametrize("trouble", ["graph", "golden"])
def test_a_model_that_cannot_be_loaded_changes_nothing_else(server: RunningServer, models: Path, trouble: str) -> None:
    address = server.address
    broken = b"no graph" if trouble == "graph" else (models / "gamma" / "1" / "model.onnx").read_bytes()
    case = GoldenCase(name="c", inputs={"x": np.ones(1, np.float32)}, outputs={"y": np.zeros(1, np.float32)})
    for name in ("alpha", "delta"):
        shutil.rmtree(models / name, ignore_errors=True)
        folder = place(models, name, scaled(1), manifest=TOLERANCE, cases=(case,))
        (folder / "1" / "model.onnx").write_bytes(broken)
        refused = change(address, name, "load")
        assert refused.status == 400
        assert refused.error.startswith(f"load failed for model '{name}': ")
    assert answer(address, "alpha") == 6, "the model that was there serves on"
    states = index(address)
    assert states["alpha"] == ("READY", "")
    assert states["delta"][0] == "UNAVAILABLE" and "delta" in states["delta"][1]
    assert ask(address, "GET", "/v2/health/ready").status == 200
    assert server.event("load failed for model 'delta'")["level"] == "error"


def test_all_that_was_accepted_is_answered(server_source: Path, models: Path) -> None:
    place(models, "slow", slow(1200))
    with running(server_source, models, MBUILD_REPOSITORY_API="1", MBUILD_THREADS="1") as server:
        address = server.ready().address
        with ThreadPoolExecutor(4) as clients:
            waiting = [clients.submit(ask, address, "POST", "/v2/models/slow/infer", ONE) for _ in range(4)]
            pending = b'nv_inference_pending_request_count{model="slow",version="1"} '
            until(lambda: pending + b"0" not in ask(address, "GET", "/metrics").body)
            assert change(address, "slow", "unload").status == 200
            assert ask(address, "POST", "/v2/models/slow/infer", ONE).status == 404
            assert {each.result().status for each in waiting} <= {200, 404}
            assert 200 in {each.result().status for each in waiting}
        until(lambda: index(address)["slow"] == ("UNAVAILABLE", "unloaded"))


def test_memory_is_given_back(server_source: Path, models: Path) -> None:
    place(models, "heavy", heavy())
    with running(server_source, models, MBUILD_REPOSITORY_API="1", MBUILD_LOAD_MODELS="alpha") as server:
        address = server.ready().address
        change(address, "heavy", "load")
        loaded = resident_bytes(server)
        assert change(address, "heavy", "unload").status == 200
        until(lambda: resident_bytes(server) < loaded - 50_000_000)


def test_no_model_is_not_ready(server: RunningServer) -> None:
    address = server.address
    for name in ("alpha", "beta"):
        assert change(address, name, "unload").status == 200
    assert ask(address, "GET", "/v2/health/ready").status == 503
    assert change(address, "beta", "load").status == 200
    assert ask(address, "GET", "/v2/health/ready").status == 200


def test_a_plain_model_comes_with_its_tensors(server_source: Path, models: Path) -> None:
    for name, word in (("first", "one"), ("second", "two")):
        plain(models, name, word)
    with running(server_source, models, MBUILD_REPOSITORY_API="1", MBUILD_LOAD_MODELS="first") as server:
        address = server.ready().address
        assert set(index(address, {"ready": True})) == {"first", "first-tensors"}
        assert change(address, "second", "load").status == 200
        assert [said(address, name) for name in ("first", "second")] == ["one", "two"], "each has its own words.py"
        (models / "second" / "1" / "words.py").write_text("WORD = 'another'")
        (models / "second" / "1" / "handler.py").write_text(HANDLER + "# changed\n")
        assert change(address, "second", "load").status == 200
        assert [said(address, name) for name in ("first", "second")] == ["one", "another"]
        assert change(address, "second", "unload").status == 200
        assert "second-tensors" in index(address, {"ready": True})
        assert change(address, "first", "unload", {"parameters": {"unload_dependents": True}}).status == 200
        assert set(index(address, {"ready": True})) == {"second-tensors"}


def plain(models: Path, name: str, word: str) -> None:
    """A handler, and what it imports, under a name that every such model has."""
    place(models, f"{name}-tensors", identity("FP32", ("n",)))
    interface = {
        "schema": 1,
        "tensors": f"{name}-tensors",
        "inputs": [{"name": "line", "datatype": "FP32", "shape": ["batch"]}],
        "outputs": [{"name": "said", "datatype": "BYTES", "shape": ["batch"]}],
        "before": {"step": "handler", "file": "handler.py", "feeds": {"x": "x"}},
        "after": {"step": "handler", "file": "handler.py", "takes": {"y": "y"}},
    }
    home = models / name / "1"
    home.mkdir(parents=True)
    (home / "interface.json").write_text(json.dumps(interface))
    (home / "handler.py").write_text(HANDLER)
    (home / "words.py").write_text(f"WORD = {word!r}")


def said(address: str, name: str) -> str:
    body = {"inputs": [{"name": "line", "datatype": "FP32", "shape": [1], "data": [1]}]}
    return str(ask(address, "POST", f"/v2/models/{name}/infer", body).json()["outputs"][0]["data"][0])


@pytest.mark.parametrize(
    ("name", "what", "body", "status"),
    [
        ("alpha", "load", b"junk", 400),
        ("alpha", "load", b"[]", 400),
        ("alpha", "load", b'{"parameters": 1}', 400),
        ("alpha", "unload", b'{"parameters": {"unload_dependents": 1}}', 400),
        ("..", "load", None, 404),
        ("%2e%2e%2fetc", "load", None, 404),
        ("alpha", "explode", None, 404),
    ],
)
def test_what_is_wrong_with_a_request(server: RunningServer, name: str, what: str, body: Any, status: int) -> None:
    assert change(server.address, name, what, body).status == status
    assert ask(server.address, "GET", "/v2/repository/models/alpha/load").status == 405
    assert answer(server.address, "alpha") == 6
