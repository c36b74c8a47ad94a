"""How a server is reached."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.host.container import Mount
from builder.model.programs import Access
from builder.pipeline.running.asking import access_to, server_url
from builder.probe.runner import Limits


def test_the_address_of_a_server() -> None:
    assert server_url("http", ("127.0.0.1", 8000)) == "http://127.0.0.1:8000"
    assert server_url("http", ("::1", 8000)) == "http://[::1]:8000"
    assert server_url("https", ("127.0.0.1", 8443)) == "https://localhost:8443"
    assert server_url("https", ("192.0.2.7", 8443)) == "https://192.0.2.7:8443"


def test_nothing_is_said_of_what_is_not_set() -> None:
    assert access_to(("127.0.0.1", 8000), Limits()) == Access(url="http://127.0.0.1:8000")


def test_the_certificate_is_named_where_it_lies_here() -> None:
    mounts = (Mount(source=Path("/home/me/tls"), place=PurePosixPath("/tls")),)
    env = (
        ("MBUILD_TLS_CERT", "/tls/server/tls.crt"),
        ("MBUILD_TLS_CLIENT_CA", "/tls/ca.crt"),
        ("MBUILD_API_KEY_FILE", "/k"),
    )
    assert access_to(("127.0.0.1", 8000), Limits(env=env, mounts=mounts)) == Access(
        url="https://localhost:8000", wants_key=True, authority="/home/me/tls/server/tls.crt", wants_certificate=True
    )
    assert access_to(("127.0.0.1", 1), Limits(env=env)).authority == "", "the image's own"
