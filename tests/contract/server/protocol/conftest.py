"""Both servers with the same models. A test that takes ``server`` runs on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.host import Host
from tests.contract.server.protocol.endpoint import WITH_TRITON, Endpoint
from tests.support.protocol_models import place_models, place_what_triton_cannot_serve
from tests.support.servers import running
from tests.support.triton import triton_serving


@pytest.fixture(scope="session")
def http_endpoint(server_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    models = place_what_triton_cannot_serve(place_models(tmp_path_factory.mktemp("http")))
    with running(server_source, models) as server:
        yield Endpoint(name="http", address=server.ready().address)
        server.send_signal()
        assert server.exit_code() == 0
        assert not [event for event in server.events if event["level"] == "error"]


@pytest.fixture(scope="session")
def triton_endpoint(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    models = place_models(tmp_path_factory.mktemp("triton-models"))
    with triton_serving(models, tmp_path_factory.mktemp("triton"), host) as address:
        yield Endpoint(name="triton", address=address)


@pytest.fixture(scope="session", params=["http", pytest.param("triton", marks=WITH_TRITON)])
def server(request: pytest.FixtureRequest) -> Endpoint:
    endpoint: Endpoint = request.getfixturevalue(f"{request.param}_endpoint")
    return endpoint
