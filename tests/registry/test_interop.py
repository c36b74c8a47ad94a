"""What we push is read by others: skopeo, crane, syft and the Docker engine."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from builder.oci.descriptor import LAYER_TAR
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference
from builder.pipeline.build import build
from builder.plan.spec import BuildSpec, Delivery, Engine
from builder.registry.push import push
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import tiny_layout
from tests.support.tools import run_tool

pytestmark = pytest.mark.registry
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class PushedImage:
    """An image in a layout and in the registry; ``debian_package`` is one that a scanner must find
    in it, ``model`` a path that it has."""

    layout: Layout
    reference: PinnedReference
    debian_package: str
    model: str


@pytest.fixture(scope="module", params=["tiny", "digits"])
def image(
    request: pytest.FixtureRequest,
    registry: SecuredRegistry,
    host: Host,
    make_host: Callable[..., Host],
    tmp_path_factory: pytest.TempPathFactory,
) -> PushedImage:
    """A tiny image with a plain layer, and the real one of examples/digits."""
    place = tmp_path_factory.mktemp("interop")
    layout = tiny_layout(place) if request.param == "tiny" else built_digits(place, host)
    pushed = push(layout, registry.fresh("interop"), make_host(environ=registry.environ))
    package, model = ("tiny", "model/") if request.param == "tiny" else ("libc6", "models/digits/1/model.onnx")
    return PushedImage(layout=layout, reference=pushed.reference, debian_package=package, model=model)


def built_digits(place: Path, host: Host) -> Layout:
    """examples/digits as ``mbuild`` makes it for linux/amd64."""
    model = Path(shutil.copytree(EXAMPLES / "digits", place / "digits"))
    amd64 = Platform(os="linux", architecture="amd64")
    spec = BuildSpec(
        model=model, target="cpu", server="http", platform=amd64, base=None, lock=place / "mbuild.lock", locked=False
    )
    delivery = Delivery(
        tags=(), push=False, load=False, output=None, engine=Engine.EMBEDDED, test=False, template_dir=None
    )
    return build(spec, delivery, host).images[0].image.layout


@pytest.fixture(scope="module")
def login(registry: SecuredRegistry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment as after ``docker login``, with the registry's CA believed by Go programs."""
    directory = tmp_path_factory.mktemp("docker-config")
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(directory), "SSL_CERT_FILE": str(registry.ca)}


def layer_digests(image: PushedImage) -> list[str]:
    return [str(layer.digest) for layer in image.layout.manifest(image.layout.find()).layers]


def test_skopeo_inspects_the_pushed_image(image: PushedImage, registry: SecuredRegistry) -> None:
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
        assert any(name.startswith(image.model) for name in rootfs.getnames())


def test_crane_validates_every_gzip_layer(image: PushedImage, login: dict[str, str]) -> None:
    if any(layer.media_type == LAYER_TAR for layer in image.layout.manifest(image.layout.find()).layers):
        with pytest.raises(AssertionError, match="gzip"):
            run_tool("crane", "validate", "--remote", str(image.reference), env=login)
    else:
        run_tool("crane", "validate", "--remote", str(image.reference), env=login)


def test_syft_finds_the_packages(image: PushedImage) -> None:
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    seen = json.loads(run_tool("syft", "scan", f"oci-dir:{image.layout.path}", "-o", "json", env=quiet))
    found = {artifact["name"]: artifact["type"] for artifact in seen["artifacts"]}
    assert found.get(image.debian_package) == "deb"
    assert seen["distro"]["id"] == "debian"


@pytest.mark.docker
def test_docker_pulls_it(image: PushedImage, registry: SecuredRegistry, docker_engine: Any) -> None:
    auth = {"username": registry.user, "password": registry.password}
    name = f"{image.reference.registry}/{image.reference.repository}"
    pulled = docker_engine.images.pull(name, tag=str(image.reference.digest), auth_config=auth)
    try:
        config = image.layout.config(image.layout.manifest(image.layout.find()))
        assert pulled.id == str(config.digest)
        assert pulled.attrs["Config"]["User"] == config.settings["User"]
    finally:
        docker_engine.images.remove(pulled.id, force=True)
