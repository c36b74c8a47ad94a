"""The model repository extension where clients may change what is served; its own, small servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from tests.contract.server.protocol.endpoint import WITH_TRITON, Endpoint, outputs, tensor
from tests.support.onnx_models import identity, place
from tests.support.servers import running
from tests.support.triton import running_triton, triton_image, with_flags
from tests.support.waiting import until

NUMBERS = {"inputs": [tensor("x", "FP32", [2], data=[1.5, -2])]}
ALLOWED = {"MBUILD_REPOSITORY_API": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "line", identity("FP32", ("n",)))
    place(folder, "other", identity("FP32", ("n",)))
    return folder


@pytest.fixture(scope="module")
def http_changing(models: Path, server_source: Path) -> Iterator[Endpoint]:
    with running(server_source, models, **ALLOWED) as server:
        yield Endpoint(name="http", address=server.ready().address)


@pytest.fixture(scope="module")
def triton_changing(models: Path, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    image = triton_image(models, tmp_path_factory.mktemp("image"), host)
    with running_triton(with_flags(image, "--model-control-mode=explicit", "--load-model=*"), host) as triton:
        yield Endpoint(name="triton", address="{}:{}".format(*triton.address))


@pytest.fixture(params=["http", pytest.param("triton", marks=WITH_TRITON)])
def changing(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(f"{request.param}_changing")
    return endpoint


def entry(server: Endpoint, model: str) -> dict[str, Any]:
    (found,) = [each for each in server.post("/v2/repository/index").json() if each["name"] == model]
    return dict(found)


def test_a_model_is_unloaded_and_loaded_again(changing: Endpoint) -> None:
    assert changing.post("/v2/repository/models/line/unload", {}).status == 200
    until(lambda: entry(changing, "line")["state"] == "UNAVAILABLE")
    assert entry(changing, "line")["reason"] == "unloaded"
    assert changing.get("/v2/models/line/ready").status == changing.differs("unknown-model", triton=400, here=404)
    answer = changing.infer("line", NUMBERS)
    assert "Request for unknown model: 'line' has no available versions" in answer.error
    assert answer.status == 404
    assert outputs(changing.infer("other", NUMBERS))["y"]["data"] == [1.5, -2.0]
    assert changing.get("/v2/health/ready").status == 200
    answer = changing.post("/v2/repository/models/line/load", {})
    assert (answer.status, answer.body) == (200, b"")
    assert entry(changing, "line")["state"] == "READY"
    assert outputs(changing.infer("line", NUMBERS))["y"]["data"] == [1.5, -2.0]


def test_a_model_that_is_there_may_be_loaded_once_more(changing: Endpoint) -> None:
    assert changing.post("/v2/repository/models/line/load").status == 200
    assert outputs(changing.infer("line", NUMBERS))["y"]["data"] == [1.5, -2.0]


def test_a_model_that_does_not_exist(changing: Endpoint) -> None:
    answer = changing.post("/v2/repository/models/nowhere/load")
    assert answer.error == "failed to load 'nowhere', failed to poll from model repository"
    assert answer.status == changing.differs("unknown-load", triton=500, here=404)
    assert changing.post("/v2/repository/models/nowhere/unload").status == 200


def test_only_what_is_ready_is_listed_where_that_is_asked_for(changing: Endpoint) -> None:
    assert changing.post("/v2/repository/models/other/unload").status == 200
    until(lambda: entry(changing, "other")["state"] == "UNAVAILABLE")
    ready = changing.post("/v2/repository/index", {"ready": True}).json()
    assert [each["name"] for each in ready] == ["line"]
    assert changing.post("/v2/repository/models/other/load").status == 200
