"""What every registry is asked for: of a scripted one with all abilities, of one with few, and of Debian's real one;
each with TLS and a password."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host import Host
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.pipeline.packages.attached import find_weights_volume
from builder.pipeline.packages.copy import copy_image
from builder.pipeline.packages.existing import push_layout
from builder.pipeline.packages.modelpack import PackedModel, inspect_any
from builder.pipeline.packages.package import inspect_image
from builder.pipeline.packages.pull import pull_image, pull_model
from builder.plan.spec import Attachment
from builder.registry.credentials import acting_for
from builder.registry.pull import PlatformMissing, pull_base, resolve
from builder.registry.push import push
from builder.registry.referrers import list_referrers, push_referrer
from tests.support.artifacts import BOM, SIGNATURE, artifact
from tests.support.certificates import make_certificate, server_context
from tests.support.faces import FACE
from tests.support.registries import SecuredRegistry
from tests.support.registry_answers import BearerAuth
from tests.support.scripted_registry import Abilities, ScriptedRegistry
from tests.support.tiny_image import AMD64, tiny_layout

MakeHost = Callable[..., Host]
ARM64 = Platform(os="linux", architecture="arm64")
WEIGHTS = random.Random(11).randbytes(6_000_000)
PASSWORD = "open sesame"
FEW = Abilities(chunks=False, ranges=False, referrers=False)


@pytest.fixture(params=["scripted", "few", pytest.param("real", marks=pytest.mark.registry)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SecuredRegistry]:
    if request.param == "real":
        yield request.getfixturevalue("registry")
        return
    certificate = make_certificate(tmp_path / "tls")
    can = FEW if request.param == "few" else Abilities()
    with ScriptedRegistry(BearerAuth("ada", PASSWORD), can, server_context(certificate)) as running:
        running.realm = f"https://{running.name}/token"
        yield SecuredRegistry(running.name, "ada", PASSWORD, certificate.certificate)
        assert not running.missing()


@pytest.fixture
def host(place: SecuredRegistry, make_host: MakeHost) -> Host:
    return make_host(environ=place.environ)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return tiny_layout(tmp_path_factory.mktemp("image"), weights=WEIGHTS, roles=("base", "model"))


def stored_bytes(layout: Layout) -> dict[Digest, bytes]:
    manifest = layout.manifest(layout.find())
    blobs = [*manifest.layers, manifest.config]
    return {blob.digest: b"".join(layout.read_blob(blob)) for blob in blobs} | {manifest.digest: manifest.raw}


def test_push_pull_gives_the_same_bytes(
    place: SecuredRegistry, host: Host, make_host: MakeHost, tmp_path: Path
) -> None:
    layout, reference = tiny_layout(tmp_path), place.fresh("tiny")
    pushed = push(layout, reference, host)
    assert pushed.reference.digest == layout.find().digest
    assert (pushed.mounted, pushed.reused) == (0, 0)
    pulled = pull_image(pushed.reference, AMD64, tmp_path / "pulled", make_host(environ=place.environ))
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_a_second_push_skips_everything(
    place: SecuredRegistry, host: Host, make_host: MakeHost, tmp_path: Path
) -> None:
    layout, reference = tiny_layout(tmp_path), place.fresh("tiny")
    first = push(layout, reference, host)
    again = push(layout, reference, make_host(environ=place.environ))
    assert (again.uploaded, again.mounted, again.reused) == (0, 0, first.uploaded)


def test_only_what_changed_is_uploaded(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    reference = place.fresh("tiny")
    before = tiny_layout(tmp_path / "before")
    push(before, reference, host)
    after = tiny_layout(tmp_path / "after", weights=b"other weights")
    result = push(after, reference, host)
    assert result.reused == before.manifest(before.find()).layers[0].size
    assert resolve(reference, AMD64, host) == result.reference


def test_layers_are_mounted_from_the_base(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    base = place.fresh("base")
    push(tiny_layout(tmp_path / "base"), base, host)
    layout = tiny_layout(tmp_path / "derived", weights=b"ours", base_name=str(base))
    result = push(layout, place.fresh("derived"), host)
    assert result.mounted == layout.manifest(layout.find()).layers[0].size
    pulled = pull_image(result.reference, AMD64, tmp_path / "pulled", host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_several_platforms_go_through_an_index(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    tiny_layout(tmp_path)
    layout, reference = tiny_layout(tmp_path, platform=ARM64), place.fresh("many")
    pushed = push(layout, reference, host)
    for platform in (AMD64, ARM64):
        assert resolve(pushed.reference, platform, host).digest == layout.find(platform=platform).digest
    with pytest.raises(PlatformMissing, match="linux/amd64, linux/arm64"):
        pull_base(reference, Platform(os="linux", architecture="riscv64"), host)


def test_pull_base_fills_the_store(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    pushed = push(layout, place.fresh("base"), host)
    base = pull_base(pushed.reference, AMD64, host)
    manifest = layout.manifest(layout.find())
    assert (base.reference, base.layers) == (pushed.reference, manifest.layers)
    assert base.config == layout.config(manifest).raw
    for layer in base.layers:
        assert b"".join(host.store.read_blob(layer.digest)) == b"".join(layout.read_blob(layer))


def test_what_was_pushed_before_is_mounted(place: SecuredRegistry, host: Host, layout: Layout) -> None:
    first = push(layout, place.fresh("first"), host)
    second = push(layout, place.fresh("second"), host)
    assert second.mounted == first.uploaded - layout.find().size
    assert second.uploaded == layout.find().size


def test_a_copy_of_an_index(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    for platform in (AMD64, ARM64):
        layout = tiny_layout(tmp_path / "image", platform=platform)
    pushed = push(layout, place.fresh("many"), host)
    target = place.fresh("copied", tag="")
    copied = copy_image(str(replace(place.fresh("x"), repository=pushed.reference.repository)), target, host)
    assert (copied.reference.digest, copied.tag) == (pushed.reference.digest, "1")
    assert copied.mounted > 0
    pulled = pull_image(copied.reference, None, tmp_path / "whole", host)
    assert {image.platform for image in Layout(pulled.path).images()} == {AMD64, ARM64}
    again = copy_image(str(tmp_path / "whole"), place.fresh("again"), host)
    assert again.reference.digest == pushed.reference.digest


def test_the_model_alone(place: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path) -> None:
    reference = place.fresh("model")
    push(layout, reference, host)
    pulled = pull_model(reference, AMD64, tmp_path / "files", host)
    assert (tmp_path / "files/model/weights.bin").read_bytes() == WEIGHTS
    assert pulled.downloaded == layout.manifest(layout.find()).layers[1].size


def test_what_is_attached_is_listed_and_copied(place: SecuredRegistry, host: Host, layout: Layout) -> None:
    host = acting_for(place.name, host)
    pushed, subject = push(layout, place.fresh("subject"), host).reference, layout.find()
    assert list_referrers(pushed, host) == ()
    for kind in (BOM, SIGNATURE, BOM):
        push_referrer(pushed, artifact(subject, kind, b"{}"), host)
    assert [one.artifact_type for one in list_referrers(pushed, host)] == [BOM, SIGNATURE]
    assert [one.artifact_type for one in list_referrers(pushed, host, SIGNATURE)] == [SIGNATURE]
    copied = copy_image(str(pushed), place.fresh("elsewhere"), host).reference
    assert list_referrers(copied, host) == list_referrers(pushed, host)


def test_an_image_in_two_is_found_by_the_whole(
    place: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path
) -> None:
    reference = place.fresh("whole")
    first = push_layout(layout.path, reference, host)
    assert find_weights_volume(first.reference, host) is None
    pushed = push_layout(layout.path, reference, host, wanted=(Attachment.WEIGHTS_IMAGE,))
    assert [one.name for one in pushed.attached] == ["weights", "server"]
    assert sum(one.pushed.uploaded for one in pushed.attached) < 100_000
    volume = find_weights_volume(pushed.reference, host)
    assert volume is not None
    assert [volume.weights, volume.server] == [one.pushed.reference for one in pushed.attached]
    again = push_layout(layout.path, reference, host, wanted=(Attachment.WEIGHTS_IMAGE,))
    assert [one.pushed.uploaded for one in again.attached] == [0, 0]
    pulled = pull_image(volume.weights, AMD64, tmp_path / "weights", host)
    (layer,) = Layout(pulled.path).manifest(Layout(pulled.path).find()).layers
    assert layer == layout.manifest(layout.find()).layers[1]
    bare = push_layout(layout.path, place.fresh("bare"), host).reference
    there = replace(place.fresh("x"), repository=bare.repository, tag="1")
    made = copy_image(str(there), there, host, wanted=(Attachment.WEIGHTS_IMAGE,))
    assert [one.pushed.reference.digest for one in made.attached] == [volume.weights.digest, volume.server.digest]
    copied = copy_image(str(pushed.reference), place.fresh("elsewhere"), host).reference
    elsewhere = find_weights_volume(copied, host)
    assert elsewhere is not None
    assert elsewhere.server.digest == volume.server.digest


def test_an_index_in_two(place: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    for platform in (AMD64, ARM64):
        layout = tiny_layout(tmp_path, platform=platform, roles=("server", "model"))
    pushed = push_layout(layout.path, place.fresh("many"), host, wanted=(Attachment.WEIGHTS_IMAGE,))
    for image in (pushed.reference, copy_image(str(pushed.reference), place.fresh("there"), host).reference):
        volume = find_weights_volume(image, host)
        assert volume is not None
        for half in (volume.server, volume.weights):
            assert {resolve(half, platform, host).digest for platform in (AMD64, ARM64)} != {half.digest}


def test_a_modelpack_moves_next_to_nothing_and_is_read_back(
    place: SecuredRegistry, host: Host, make_host: MakeHost, tmp_path: Path
) -> None:
    image = tiny_layout(tmp_path, weights=WEIGHTS, roles=("model", "weights"), labels=FACE.to_labels())
    pushed = push_layout(image.path, place.fresh("packed"), host, wanted=(Attachment.MODELPACK,))
    (attached,) = pushed.attached
    assert (attached.name, attached.pushed.mounted) == ("modelpack", 0)
    assert attached.pushed.uploaded < 100_000
    at = replace(
        place.fresh("x"), repository=pushed.reference.repository, tag="", digest=attached.pushed.reference.digest
    )
    elsewhere = make_host(environ=place.environ)
    packed = inspect_any(str(at), AMD64, elsewhere)
    assert isinstance(packed, PackedModel)
    manifest = image.manifest(image.find())
    assert [layer.digest for layer in packed.manifest.layers] == [layer.digest for layer in manifest.layers]
    assert (packed.said.name, packed.said.format, packed.said.parameters) == ("digits", "onnx", "12.3K")
    assert packed.to_json()["subject"] == str(manifest.digest)
    pulled = pull_model(at, AMD64, tmp_path / "files", elsewhere)
    assert pulled.downloaded == sum(layer.size for layer in manifest.layers)
    assert (tmp_path / "files/model/weights.bin").read_bytes() == WEIGHTS
    assert (tmp_path / "files/etc/os-release").is_file()
    whole = inspect_image(replace(at, digest=pushed.reference.digest), AMD64, elsewhere)
    assert whole.attached == (("modelpack", attached.pushed.reference.digest),)
