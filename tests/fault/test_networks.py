"""Registries as users have them: behind proxies, with client certificates, in the clear, with tokens; and who hears of
a password."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import MbuildError
from builder.host import Host
from builder.host.http import HostNotFound, NetworkError
from builder.host.tls import UnreadableClientCertificate
from builder.oci.layout import Layout
from builder.oci.reference import Reference
from builder.pipeline.packages.pull import pull_image
from builder.registry.auth import InsecureRealm
from builder.registry.errors import WrongCredentials
from builder.registry.push import push
from tests.support.certificates import ServerCertificate, make_certificate, server_context
from tests.support.hosts import ImpatientClock
from tests.support.proxies import forward_proxy
from tests.support.registry_answers import BearerAuth
from tests.support.registry_faults import Cut, Hangup, Status, Swallow
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.tiny_image import AMD64, tiny_layout

MakeHost = Callable[..., Host]
PASSWORD, PROXY_LOGIN = "hunter2 and more", "corp:proxy-secret"
LOGIN = {"MBUILD_REGISTRY_USERNAME": "ada", "MBUILD_REGISTRY_PASSWORD": PASSWORD}
NAME = "registry.test:5000"
"""No resolver knows it: only the proxy does."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return tiny_layout(tmp_path / "image", weights=bytes(300_000))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), host="registry.test")


def port_of(registry: ScriptedRegistry) -> int:
    return int(registry.name.rpartition(":")[2])


def there_and_back(name: str, host: Host, layout: Layout, tmp_path: Path) -> None:
    pushed = push(layout, Reference.parse(f"{name}/tiny:1"), host)
    pulled = pull_image(pushed.reference, AMD64, tmp_path / "out", host)
    assert Layout(pulled.path).find().digest == layout.find().digest


# proxies


def test_in_the_clear_through_a_proxy(make_host: MakeHost, layout: Layout, tmp_path: Path) -> None:
    with ScriptedRegistry() as registry, forward_proxy({NAME: port_of(registry)}, PROXY_LOGIN) as proxy:
        environ = {"HTTP_PROXY": proxy.url, "MBUILD_PLAIN_HTTP": NAME, "HOME": str(tmp_path)}
        there_and_back(NAME, make_host(environ=environ), layout, tmp_path)
        assert all(line.split()[1].startswith(f"http://{NAME}/v2/") for line in proxy.seen)
        assert not any("Proxy-Authorization" in one.headers for one in registry.requests)


def test_with_tls_a_proxy_sees_nothing(
    make_host: MakeHost, layout: Layout, tmp_path: Path, certificate: ServerCertificate
) -> None:
    tls = server_context(certificate)
    with (
        ScriptedRegistry(BearerAuth("ada", PASSWORD), tls=tls) as registry,
        forward_proxy({NAME: port_of(registry)}, PROXY_LOGIN) as proxy,
    ):
        registry.realm = f"https://{NAME}/token"
        environ = LOGIN | {"https_proxy": proxy.url, "SSL_CERT_FILE": str(certificate.certificate)}
        there_and_back(NAME, make_host(environ=environ | {"HOME": str(tmp_path)}), layout, tmp_path)
        assert set(proxy.seen) == {f"CONNECT {NAME} HTTP/1.1", f"CONNECT {NAME} HTTP/1.0"} & set(proxy.seen)
        assert not any(line.startswith("Authorization") for line in proxy.headers)


def test_no_proxy_means_directly(make_host: MakeHost, layout: Layout, tmp_path: Path) -> None:
    with ScriptedRegistry() as registry, forward_proxy({NAME: port_of(registry)}) as proxy:
        environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": ".test", "MBUILD_PLAIN_HTTP": NAME, "HOME": str(tmp_path)}
        host = replace(make_host(environ=environ), clock=ImpatientClock())
        with pytest.raises(HostNotFound):
            push(layout, Reference.parse(f"{NAME}/tiny:1"), host)
        assert not proxy.seen


def test_a_proxy_that_refuses_is_named_without_its_password(
    make_host: MakeHost, layout: Layout, tmp_path: Path
) -> None:
    with forward_proxy({}, "another:login") as proxy:
        environ = {"HTTPS_PROXY": f"http://{PROXY_LOGIN}@127.0.0.1:{proxy.port}", "HOME": str(tmp_path)}
        host = replace(make_host(environ=environ), clock=ImpatientClock())
        with pytest.raises(NetworkError, match="407") as caught:
            push(layout, Reference.parse(f"{NAME}/tiny:1"), host)
        assert "proxy-secret" not in f"{caught.value} {caught.value.advice} {caught.value.facts}"


# certificates


def test_a_client_certificate_is_shown_to_its_server_only(
    make_host: MakeHost, layout: Layout, tmp_path: Path, certificate: ServerCertificate
) -> None:
    ours = make_certificate(tmp_path / "ours")
    with ScriptedRegistry(tls=server_context(certificate, ours.certificate)) as registry:
        place = tmp_path / "docker" / "certs.d" / registry.name
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(certificate.certificate.read_bytes())
        environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
        with pytest.raises(NetworkError):
            push(layout, registry.reference(), replace(make_host(environ=environ), clock=ImpatientClock()))
        (place / "client.cert").write_bytes(ours.certificate.read_bytes())
        with pytest.raises(UnreadableClientCertificate, match=r"no client\.key beside it"):
            push(layout, registry.reference(), make_host(environ=environ))
        (place / "client.key").write_bytes(ours.key.read_bytes())
        there_and_back(registry.name, make_host(environ=environ), layout, tmp_path)


def test_a_cut_under_tls_is_a_cut_like_any(
    make_host: MakeHost, layout: Layout, tmp_path: Path, certificate: ServerCertificate
) -> None:
    environ = {"SSL_CERT_FILE": str(certificate.certificate), "HOME": str(tmp_path)}
    with ScriptedRegistry(tls=server_context(certificate)) as registry:
        registry.next("GET", "/v2/", Hangup())
        registry.next("PUT", "/blobs/uploads/", Swallow(100_000))
        registry.next("GET", "/blobs/sha256", Cut(100))
        host = replace(make_host(environ=environ), clock=ImpatientClock())
        there_and_back(registry.name, host, layout, tmp_path)
        assert not registry.missing()


@pytest.mark.parametrize("place", ["DOCKER_CONFIG", "HOME"])
def test_where_docker_keeps_certificates(
    make_host: MakeHost, layout: Layout, tmp_path: Path, certificate: ServerCertificate, place: str
) -> None:
    with ScriptedRegistry(tls=server_context(certificate)) as registry:
        root = tmp_path if place == "DOCKER_CONFIG" else tmp_path / ".docker"
        directory = root / "certs.d" / registry.name
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_bytes(certificate.certificate.read_bytes())
        there_and_back(registry.name, make_host(environ={place: str(tmp_path)}), layout, tmp_path)


# who we are


def test_an_identity_token_buys_a_bearer_token(make_host: MakeHost, layout: Layout, tmp_path: Path) -> None:
    with ScriptedRegistry(BearerAuth("ada", PASSWORD, identity_token="refresh-secret")) as registry:
        config = f'{{"auths": {{"{registry.name}": {{"identitytoken": "refresh-secret"}}}}}}'
        (tmp_path / "config.json").write_text(config)
        there_and_back(registry.name, make_host(environ={"DOCKER_CONFIG": str(tmp_path)}), layout, tmp_path)
        assert all("refresh-secret" not in str(one) for one in registry.requests), "not in a URL nor in a header"


def test_a_password_goes_to_no_other_host_in_the_clear(make_host: MakeHost, layout: Layout, tmp_path: Path) -> None:
    with ScriptedRegistry(BearerAuth("ada", PASSWORD)) as registry, forward_proxy({NAME: port_of(registry)}) as proxy:
        environ = LOGIN | {"HTTP_PROXY": proxy.url, "MBUILD_PLAIN_HTTP": NAME, "HOME": str(tmp_path)}
        registry.realm = "http://auth.test/token"
        with pytest.raises(InsecureRealm):
            push(layout, Reference.parse(f"{NAME}/tiny:1"), make_host(environ=environ))
        registry.realm = f"http://{NAME}/token"
        there_and_back(NAME, make_host(environ=environ), layout, tmp_path)


# the command


def mbuild(*arguments: object, stdin: str = "", environ: dict[str, str] | None = None) -> tuple[int, str, set[str]]:
    """Runs it; exit status, everything that it printed, and every command line that this machine showed meanwhile."""
    argv = [sys.executable, "-m", "builder", *map(str, arguments)]
    environ = {"PATH": os.environ["PATH"], "MBUILD_DEBUG": "1", **(environ or {})}
    pipe = subprocess.PIPE
    seen: set[str] = set()
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environ) as running:
        watcher = threading.Thread(target=_watch, args=(running, seen), daemon=True)
        watcher.start()
        printed, _ = running.communicate(stdin, timeout=60)
        watcher.join(10)
    return running.returncode, printed, seen


def _watch(running: subprocess.Popen[str], seen: set[str]) -> None:
    while running.poll() is None:
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(process.read_bytes().decode(errors="replace"))
            except OSError:
                continue
        time.sleep(0.05)


def test_the_commands_tell_nobody_the_password(layout: Layout, tmp_path: Path) -> None:
    """A good and a wrong one, by --password-stdin and by the environment, with all that debugging prints."""
    environ = {"MBUILD_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    login = ("--username", "ada", "--password-stdin")
    with ScriptedRegistry(BearerAuth("ada", PASSWORD)) as registry:
        name = f"{registry.name}/tiny"
        runs = [
            (0, mbuild("push", layout.path, f"{name}:1", *login, stdin=f"{PASSWORD}\n", environ=environ)),
            (0, mbuild("copy", f"{name}:1", f"{registry.name}/other", environ=environ | LOGIN)),
            (10, mbuild("pull", f"{name}:1", *login, stdin=f"wrong {PASSWORD}", environ=environ)),
        ]
        registry.next("PUT", "/manifests/", Status(400, code="MANIFEST_INVALID"))
        runs.append((10, mbuild("push", layout.path, f"{name}:4", environ=environ | LOGIN)))
    printed = "\n".join(text for _, (_, text, _) in runs)
    assert [status for status, _ in runs] == [status for _, (status, _, _) in runs], printed
    assert "reused 0 B, mounted 0 B" in printed
    assert re.search(r"uploaded \d+ B, reused 0 B, mounted 30\d\.\d kB", printed), "the copy"
    lines = {line for _, (_, _, seen) in runs for line in seen}
    assert any("--password-stdin" in line for line in lines), "the watcher saw the command"
    for secret in (PASSWORD, *registry.tokens, "Basic ", "Bearer "):
        assert secret not in printed
        assert not any(secret in line for line in lines)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept and not any(PASSWORD.encode() in path.read_bytes() for path in kept)


def test_a_wrong_password_is_one_for_a_bearer_token_too(make_host: MakeHost, layout: Layout, tmp_path: Path) -> None:
    with ScriptedRegistry(BearerAuth("ada", "another")) as registry, pytest.raises(WrongCredentials) as caught:
        push(layout, registry.reference(), make_host(environ=LOGIN | {"HOME": str(tmp_path)}))
    assert isinstance(caught.value, MbuildError)
    assert PASSWORD not in f"{caught.value} {caught.value.facts}"
