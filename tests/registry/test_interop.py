"""What we push is read by others: skopeo, crane, syft and the Docker engine."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from builder.oci.layer_writer import Compression
from builder.oci.layout import Layout
from builder.oci.reference import PinnedReference
from builder.registry.push import push
from tests.support.registries import RealRegistry
from tests.support.tiny_image import tiny_layout
from tests.support.tools import run_tool

pytestmark = pytest.mark.registry


@dataclass(frozen=True)
class PushedImage:
    """An image in a layout and in the registry; ``debian_package`` is one that a scanner must find in it."""

    layout: Layout
    reference: PinnedReference
    debian_package: str


@pytest.fixture(scope="module")
def image(
    registry: RealRegistry, make_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory
) -> PushedImage:
    layout = tiny_layout(tmp_path_factory.mktemp("interop"))
    pushed = push(layout, registry.fresh("interop"), make_host(environ=registry.environ))
    return PushedImage(layout=layout, reference=pushed.reference, debian_package="tiny")


@pytest.fixture(scope="module")
def login(registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment as after ``docker login``, with the registry's CA believed by Go programs."""
    directory = tmp_path_factory.mktemp("docker-config")
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(directory), "SSL_CERT_FILE": str(registry.ca)}


def layer_digests(image: PushedImage) -> list[str]:
    return [str(layer.digest) for layer in image.layout.manifest(image.layout.find()).layers]


def test_skopeo_inspects_the_pushed_image(image: PushedImage, registry: RealRegistry) -> None:
    access = ["--cert-dir", str(registry.ca.parent), "--creds", f"{registry.user}:{registry.password}"]
    seen = json.loads(run_tool("skopeo", "inspect", *access, f"docker://{image.reference}"))
    assert (seen["Digest"], seen["Layers"]) == (str(image.reference.digest), layer_digests(image))


def test_skopeo_inspects_the_layout(image: PushedImage) -> None:
    seen = json.loads(run_tool("skopeo", "inspect", f"oci:{image.layout.path}"))
    assert (seen["Digest"], seen["Architecture"]) == (str(image.layout.find().digest), "amd64")


def test_crane_validates_and_exports_it(image: PushedImage, login: dict[str, str], tmp_path: Path) -> None:
    """A full ``crane validate`` takes every layer for gzip (go-containerregistry pkg/v1/validate/layer.go), so plain
    layers are checked by ``export``, which reads and verifies each."""
    run_tool("crane", "validate", "--fast", "--remote", str(image.reference), env=login)
    run_tool("crane", "export", str(image.reference), str(tmp_path / "rootfs.tar"), env=login)
    with tarfile.open(tmp_path / "rootfs.tar") as rootfs:
        assert any(name.startswith("model/") for name in rootfs.getnames())


def test_crane_validates_every_gzip_layer(
    registry: RealRegistry, make_host: Callable[..., Host], login: dict[str, str], tmp_path: Path
) -> None:
    layout = tiny_layout(tmp_path, weights_as=Compression.GZIP)
    pushed = push(layout, registry.fresh("gzip"), make_host(environ=registry.environ))
    run_tool("crane", "validate", "--remote", str(pushed.reference), env=login)


def test_syft_finds_the_packages(image: PushedImage) -> None:
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    seen = json.loads(run_tool("syft", "scan", f"oci-dir:{image.layout.path}", "-o", "json", env=quiet))
    found = {artifact["name"]: artifact["type"] for artifact in seen["artifacts"]}
    assert found.get(image.debian_package) == "deb"
    assert seen["distro"]["id"] == "debian"


@pytest.mark.docker
def test_docker_pulls_it(image: PushedImage, registry: RealRegistry, docker_engine: Any) -> None:
    auth = {"username": registry.user, "password": registry.password}
    name = f"{image.reference.registry}/{image.reference.repository}"
    pulled = docker_engine.images.pull(name, tag=str(image.reference.digest), auth_config=auth)
    try:
        config = image.layout.config(image.layout.manifest(image.layout.find()))
        assert pulled.id == str(config.digest)
        assert pulled.attrs["Config"]["User"] == config.settings["User"]
    finally:
        docker_engine.images.remove(pulled.id, force=True)
