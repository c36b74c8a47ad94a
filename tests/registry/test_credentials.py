"""Credentials and certificates for a real registry with TLS and a password: which count, what is said of wrong ones."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import MbuildError
from builder.host import Host
from builder.host.http import ExpiredCertificate, HostNotFound, UntrustedCertificate
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.registry.errors import CredentialsMissing, NotThere, WrongCredentials
from builder.registry.pull import resolve
from builder.registry.push import push
from tests.support.certificates import make_certificate
from tests.support.golden import Golden
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import AMD64, tiny_layout
from tests.support.tls import tls_listener

pytestmark = pytest.mark.registry
ARM64 = Platform(os="linux", architecture="arm64")
MakeHost = Callable[..., Host]


def complaint(error: MbuildError, **names: str) -> str:
    """The message and the hint as a person sees them, with what changes from run to run named."""
    text = f"{error}\n{error.advice}\n"
    for name, value in names.items():
        text = text.replace(value, f"<{name}>")
    return text


def test_what_docker_login_left_is_used(registry: SecuredRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    config = {"auths": {registry.name: {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    host = make_host(environ={"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(registry.ca)})
    reference = registry.fresh("login")
    assert push(tiny_layout(tmp_path), reference, host).reference == resolve(reference, AMD64, host)


def test_a_credential_helper_is_a_program(
    registry: SecuredRegistry, make_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked by its name on PATH, as Docker asks it, and its answer goes to the registry alone."""
    answer = json.dumps({"ServerURL": registry.name, "Username": registry.user, "Secret": registry.password})
    (tmp_path / "answer.json").write_text(answer)
    program = tmp_path / "docker-credential-vault"
    program.write_text(f'#!/bin/sh\n[ "$1" = get ] && tee {tmp_path}/asked >/dev/null && cat {tmp_path}/answer.json\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {registry.name: "vault"}}))
    host = make_host(environ={"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(registry.ca)})
    reference = registry.fresh("helper")
    assert push(tiny_layout(tmp_path), reference, host).reference == resolve(reference, AMD64, host)
    assert (tmp_path / "asked").read_text() == registry.name
    kept = [path for path in host.store.root.rglob("*") if path.is_file()]
    assert not [path for path in kept if registry.password.encode() in path.read_bytes()]


def test_a_ca_in_certs_d_is_believed(registry: SecuredRegistry, make_host: MakeHost, tmp_path: Path) -> None:
    directory = tmp_path / "docker" / "certs.d" / registry.name
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes(registry.ca.read_bytes())
    environ = registry.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    del environ["SSL_CERT_FILE"]
    push(tiny_layout(tmp_path), registry.fresh("certs-d"), make_host(environ=environ))


def test_wrong_password(registry: SecuredRegistry, make_host: MakeHost, tmp_path: Path, golden: Golden) -> None:
    host = make_host(environ=registry.environ | {"MBUILD_REGISTRY_PASSWORD": "not this one"})
    with pytest.raises(WrongCredentials) as caught:
        push(tiny_layout(tmp_path), registry.fresh("tiny"), host)
    golden("errors/wrong-password.txt", complaint(caught.value, REGISTRY=registry.name))


def test_no_password(registry: SecuredRegistry, make_host: MakeHost, tmp_path: Path, golden: Golden) -> None:
    host = make_host(environ={"SSL_CERT_FILE": str(registry.ca), "HOME": str(tmp_path)})
    reference = registry.fresh("tiny")
    with pytest.raises(CredentialsMissing) as caught:
        push(tiny_layout(tmp_path), reference, host)
    golden("errors/no-password.txt", complaint(caught.value, REGISTRY=registry.name, REPOSITORY=reference.repository))


def test_an_image_that_is_not_there(registry: SecuredRegistry, make_host: MakeHost, golden: Golden) -> None:
    reference = registry.fresh("nobody")
    with pytest.raises(NotThere) as caught:
        resolve(reference, AMD64, make_host(environ=registry.environ))
    golden("errors/not-there.txt", complaint(caught.value, REGISTRY=registry.name, REPOSITORY=reference.repository))


def test_an_unknown_ca(registry: SecuredRegistry, make_host: MakeHost, golden: Golden) -> None:
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
