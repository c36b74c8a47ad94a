"""Triton's other two ports, gRPC and metrics, against what the minimal server says at its only one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched
from builder.host import Host
from tests.contract.server.protocol.endpoint import WITH_TRITON, Endpoint
from tests.contract.server.protocol.test_datatypes import STRINGS, sample
from tests.support.onnx_models import identity, place
from tests.support.prometheus import questions, require_all, require_healthy_rules, scraping
from tests.support.servers import ask
from tests.support.triton import GRPC, METRICS, triton_serving

pytestmark = list(WITH_TRITON)
DATATYPES = ("BOOL", "INT64", "FP16", "FP32", "BYTES")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for datatype in DATATYPES:
        place(folder, f"identity_{datatype}", identity(datatype))
    return folder


@pytest.fixture(scope="module")
def grpc(models: Path, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    with (
        triton_serving(models, tmp_path_factory.mktemp("grpc"), host, port=GRPC) as address,
        triton.InferenceServerClient(address) as client,
    ):
        yield client


@pytest.mark.parametrize("datatype", DATATYPES)
def test_by_grpc(grpc: triton.InferenceServerClient, datatype: str) -> None:
    array = STRINGS if datatype == "BYTES" else sample(datatype, (2, 3))
    given = triton.InferInput("x", list(array.shape), datatype)
    given.set_data_from_numpy(array)
    answer = grpc.infer(f"identity_{datatype}", [given], request_id="7")
    found = answer.as_numpy("y")
    if datatype == "BYTES":
        found = np.array([item.decode() for item in found.ravel()], object).reshape(found.shape)
    np.testing.assert_array_equal(found, array)
    assert answer.get_response().id == "7"


def test_by_grpc_a_model_is_the_same(grpc: triton.InferenceServerClient, http_endpoint: Endpoint) -> None:
    found = grpc.get_model_metadata("identity_FP32", as_json=True)
    expected = http_endpoint.get("/v2/models/identity_FP32").json()
    for side in ("inputs", "outputs"):
        assert [(each["name"], each["datatype"], list(map(int, each["shape"]))) for each in found[side]] == [
            (each["name"], each["datatype"], each["shape"]) for each in expected[side]
        ]


def counters(exposition: str, model: str) -> set[tuple[str, tuple[str, ...]]]:
    """Name and labels of each counter and gauge about a model's requests."""
    lines = [line for line in exposition.splitlines() if not line.startswith("#")]
    parts: list[Any] = [line.rsplit(" ", 1)[0].rstrip("}").partition("{") for line in lines]
    found = {(name, tuple(sorted(labels.split(",")))) for name, _, labels in parts if name.startswith("nv_inference_")}
    return {(name, labels) for name, labels in found if f'model="{model}"' in labels}


@pytest.fixture(scope="module")
def metrics(models: Path, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with triton_serving(models, tmp_path_factory.mktemp("metrics"), host, port=METRICS) as address:
        yield address


def test_every_metric_of_a_model_has_tritons_name_and_labels(metrics: str, http_endpoint: Endpoint) -> None:
    expected = counters(ask(metrics, "GET", "/metrics").body.decode(), "identity_FP32")
    assert len(expected) > 10
    assert expected <= counters(http_endpoint.get("/metrics").body.decode(), "identity_FP32")


def test_a_dashboard_of_triton_has_something_in_every_panel(metrics: str, tmp_path: Path) -> None:
    watched = Watched(name="t", job="t", server="triton", on_gpu=False, p99_seconds=0.3)
    with scraping({"t": metrics}, alert_rules(watched), tmp_path) as prometheus:
        require_all(prometheus, questions(watched, ""))
        require_healthy_rules(prometheus, watched)
