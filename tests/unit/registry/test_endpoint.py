"""https, and plain http on this machine only."""

from __future__ import annotations

import io

import pytest
import requests

from builder.host.clock import SystemClock
from builder.host.http import Http, Request, Response, TlsExpected
from builder.registry.endpoint import find_endpoint


def answer(status: int, request: Request) -> Response:
    inner = requests.Response()
    inner.status_code, inner.raw = status, io.BytesIO()
    return Response(inner, request, SystemClock())


class NoTls(Http):
    """A network where nobody speaks TLS."""

    def __init__(self) -> None:
        super().__init__({})
        self.urls: list[str] = []

    def send(self, request: Request) -> Response:
        self.urls.append(request.url)
        if request.url.startswith("https:"):
            raise TlsExpected(verb=request.verb, url=request.url, reason="wrong version number")
        return answer(401, request)


class OnlyTls(NoTls):
    """A network where everybody does."""

    def send(self, request: Request) -> Response:
        self.urls.append(request.url)
        return answer(200, request)


def test_plain_http_on_this_machine() -> None:
    http = NoTls()
    assert find_endpoint("localhost:5000", http).origin == "http://localhost:5000"
    assert http.urls == ["https://localhost:5000/v2/", "http://localhost:5000/v2/"]


@pytest.mark.parametrize("registry", ["registry.example", "registry.example:5000", "10.1.2.3:5000", "docker.io"])
def test_never_to_another_machine(registry: str) -> None:
    http = NoTls()
    with pytest.raises(TlsExpected, match="does not speak TLS") as caught:
        find_endpoint(registry, http)
    assert "TLS in front" in caught.value.advice
    assert all(url.startswith("https://") for url in http.urls)


def test_the_default_registry_has_its_api_elsewhere() -> None:
    assert find_endpoint("docker.io", OnlyTls()).origin == "https://registry-1.docker.io"
    assert find_endpoint("registry.example:5000", OnlyTls()).origin == "https://registry.example:5000"
