"""The door for HTTP: whom it tells what, and how it says that something went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.host.http import Http, NetworkError, Request
from builder.host.tls import UnreadableCaFile
from tests.support.hosts import HastyClock
from tests.support.registry_faults import Cut, Drip, Status
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.services import free_port


def get(url: str, environ: dict[str, str] | None = None) -> bytes:
    with Http(environ or {}).send(Request(verb="GET", url=url)) as response:
        return response.read()


def test_a_netrc_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login ada password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with ScriptedRegistry() as first, ScriptedRegistry() as second:
        first.next("GET", "/v2/", Status(302, {"Location": f"http://{second.name}/v2/"}))
        assert get(f"http://{first.name}/v2/") == b"{}"
        assert all("Authorization" not in one.headers for one in [*first.requests, *second.requests])


def test_this_machine_is_not_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with ScriptedRegistry() as registry:
        assert get(f"http://{registry.name}/v2/") == b"{}"


def test_a_body_that_is_cut_short_is_temporary() -> None:
    with ScriptedRegistry() as registry:
        registry.next("GET", "/v2/", Cut(1))
        with pytest.raises(NetworkError) as caught:
            get(f"http://{registry.name}/v2/")
        assert caught.value.temporary


def test_a_body_that_drips_has_stalled() -> None:
    with ScriptedRegistry() as registry:
        registry.next("GET", "/v2/", Drip(1, 0.01))
        with pytest.raises(NetworkError, match=r"only 1 bytes came in 61 s") as caught:
            Http({}, HastyClock(61)).send(Request(verb="GET", url=f"http://{registry.name}/v2/")).read()
        assert caught.value.temporary


def test_a_slow_body_that_keeps_coming_is_awaited() -> None:
    with ScriptedRegistry() as registry:
        registry.next("GET", "/v2/", Drip(1, 0.01))
        with Http({}, HastyClock(20)).send(Request(verb="GET", url=f"http://{registry.name}/v2/")) as response:
            assert response.read() == b"{}"


def test_nobody_listens() -> None:
    with pytest.raises(NetworkError, match="Connection refused") as caught:
        get(f"http://127.0.0.1:{free_port()}/")
    assert caught.value.temporary


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(UnreadableCaFile, match=r"ca\.pem"):
        get("https://localhost:1/", {"SSL_CERT_FILE": str(tmp_path / "ca.pem")})


def test_a_short_answer_leaves_the_connection_open() -> None:
    with ScriptedRegistry() as registry:
        http = Http({})
        for _ in range(5):
            http.send(Request(verb="GET", url=f"http://{registry.name}/v2/x")).close()
        assert registry.connections == 1


def test_a_larger_body_than_allowed_is_not_read() -> None:
    with ScriptedRegistry() as registry:
        response = Http({}).send(Request(verb="GET", url=f"http://{registry.name}/v2/"))
        with response, pytest.raises(NetworkError, match="larger than 1 bytes"):
            response.read(1)
