"""Push and pull against a real registry with TLS and a password."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import MbuildError
from builder.host import Host
from builder.host.http import ExpiredCertificate, HostNotFound, UntrustedCertificate
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.pull import pull_image
from builder.registry.errors import CredentialsMissing, NotThere, WrongCredentials
from builder.registry.pull import PlatformMissing, pull_base, resolve
from builder.registry.push import push
from tests.support.certificates import make_certificate
from tests.support.golden import Golden
from tests.support.registries import RealRegistry
from tests.support.tiny_image import AMD64, tiny_layout
from tests.support.tls import tls_listener

pytestmark = pytest.mark.registry
ARM64 = Platform(os="linux", architecture="arm64")
MakeHost = Callable[..., Host]


def stored_bytes(layout: Layout) -> dict[Digest, bytes]:
    manifest = layout.manifest(layout.find())
    blobs = [*manifest.layers, manifest.config]
    return {blob.digest: b"".join(layout.read_blob(blob)) for blob in blobs} | {manifest.digest: manifest.raw}


def complaint(error: MbuildError, **names: str) -> str:
    """The message and the hint as a person sees them, with what changes from run to run named."""
    text = f"{error}\n{error.advice}\n"
    for name, value in names.items():
        text = text.replace(value, f"<{name}>")
    return text


def test_push_pull_gives_the_same_bytes(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    layout, reference = tiny_layout(tmp_path), registry.fresh("tiny")
    pushed = push(layout, reference, make_host(environ=registry.environ))
    assert pushed.reference.digest == layout.find().digest
    assert (pushed.mounted, pushed.reused) == (0, 0)
    pulled = pull_image(pushed.reference, AMD64, tmp_path / "pulled", make_host(environ=registry.environ))
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_a_second_push_skips_everything(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    layout, reference = tiny_layout(tmp_path), registry.fresh("tiny")
    first = push(layout, reference, make_host(environ=registry.environ))
    again = push(layout, reference, make_host(environ=registry.environ))
    assert (again.uploaded, again.mounted, again.reused) == (0, 0, first.uploaded)


def test_only_what_changed_is_uploaded(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    host, reference = make_host(environ=registry.environ), registry.fresh("tiny")
    before = tiny_layout(tmp_path / "before")
    push(before, reference, host)
    after = tiny_layout(tmp_path / "after", weights=b"other weights")
    result = push(after, reference, host)
    assert result.reused == before.manifest(before.find()).layers[0].size
    assert resolve(reference, AMD64, host) == result.reference


def test_layers_are_mounted_from_the_base(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    host, base = make_host(environ=registry.environ), registry.fresh("base")
    push(tiny_layout(tmp_path / "base"), base, host)
    layout = tiny_layout(tmp_path / "derived", weights=b"ours", base_name=str(base))
    result = push(layout, registry.fresh("derived"), host)
    assert result.mounted == layout.manifest(layout.find()).layers[0].size
    pulled = pull_image(result.reference, AMD64, tmp_path / "pulled", host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_several_platforms_go_through_an_index(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    tiny_layout(tmp_path)
    layout, host = tiny_layout(tmp_path, platform=ARM64), make_host(environ=registry.environ)
    reference = registry.fresh("many")
    pushed = push(layout, reference, host)
    for platform in (AMD64, ARM64):
        assert resolve(pushed.reference, platform, host).digest == layout.find(platform=platform).digest
    with pytest.raises(PlatformMissing, match="linux/amd64, linux/arm64"):
        pull_base(reference, Platform(os="linux", architecture="riscv64"), host)


def test_pull_base_fills_the_store(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    layout, host = tiny_layout(tmp_path), make_host(environ=registry.environ)
    pushed = push(layout, registry.fresh("base"), host)
    base = pull_base(pushed.reference, AMD64, host)
    manifest = layout.manifest(layout.find())
    assert (base.reference, base.layers) == (pushed.reference, manifest.layers)
    assert base.config == layout.config(manifest).raw
    for layer in base.layers:
        assert b"".join(host.store.read_blob(layer.digest)) == b"".join(layout.read_blob(layer))


def test_what_docker_login_left_is_used(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    config = {"auths": {registry.name: {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    host = make_host(environ={"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(registry.ca)})
    reference = registry.fresh("login")
    assert push(tiny_layout(tmp_path), reference, host).reference == resolve(reference, AMD64, host)


def test_a_ca_in_certs_d_is_believed(registry: RealRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    directory = tmp_path / "docker" / "certs.d" / registry.name
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes(registry.ca.read_bytes())
    environ = registry.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    del environ["SSL_CERT_FILE"]
    push(tiny_layout(tmp_path), registry.fresh("certs-d"), make_host(environ=environ))


def test_wrong_password(registry: RealRegistry, make_host: MakeHost, tmp_path: Path, golden: Golden) -> None:
    host = make_host(environ=registry.environ | {"MBUILD_REGISTRY_PASSWORD": "not this one"})
    with pytest.raises(WrongCredentials) as caught:
        push(tiny_layout(tmp_path), registry.fresh("tiny"), host)
    golden("errors/wrong-password.txt", complaint(caught.value, REGISTRY=registry.name))


def test_no_password(registry: RealRegistry, make_host: MakeHost, tmp_path: Path, golden: Golden) -> None:
    host = make_host(environ={"SSL_CERT_FILE": str(registry.ca), "HOME": str(tmp_path)})
    reference = registry.fresh("tiny")
    with pytest.raises(CredentialsMissing) as caught:
        push(tiny_layout(tmp_path), reference, host)
    golden("errors/no-password.txt", complaint(caught.value, REGISTRY=registry.name, REPOSITORY=reference.repository))


def test_an_image_that_is_not_there(registry: RealRegistry, make_host: MakeHost, golden: Golden) -> None:
    reference = registry.fresh("nobody")
    with pytest.raises(NotThere) as caught:
        resolve(reference, AMD64, make_host(environ=registry.environ))
    golden("errors/not-there.txt", complaint(caught.value, REGISTRY=registry.name, REPOSITORY=reference.repository))


def test_an_unknown_ca(registry: RealRegistry, make_host: MakeHost, golden: Golden) -> None:
    environ = {name: value for name, value in registry.environ.items() if name != "SSL_CERT_FILE"}
    with pytest.raises(UntrustedCertificate) as caught:
        resolve(registry.fresh("tiny"), AMD64, make_host(environ=environ))
    golden("errors/untrusted-certificate.txt", complaint(caught.value, REGISTRY=registry.name))


def test_an_expired_certificate(make_host: MakeHost, tmp_path: Path, golden: Golden) -> None:
    made = make_certificate(tmp_path, days=-1)
    host = make_host(environ={"SSL_CERT_FILE": str(made.certificate), "HOME": str(tmp_path)})
    with tls_listener(made.certificate, made.key) as port, pytest.raises(ExpiredCertificate) as caught:
        push(tiny_layout(tmp_path), Reference.parse(f"localhost:{port}/tiny:1"), host)
    golden("errors/expired-certificate.txt", complaint(caught.value, PORT=str(port)))


def test_a_host_that_does_not_exist(make_host: MakeHost, tmp_path: Path) -> None:
    host = make_host(environ={"HOME": str(tmp_path)})
    with pytest.raises(HostNotFound) as caught:
        push(tiny_layout(tmp_path), Reference.parse("registry.invalid/tiny:1"), host)
    assert "registry.invalid" in str(caught.value)
    assert "network" in caught.value.advice
