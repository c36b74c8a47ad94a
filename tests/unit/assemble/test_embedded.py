"""The embedded assembler writes a layer once, tells how far it is, and trusts nothing that it has not seen whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.assemble import embedded
from builder.assemble.embedded import EmbeddedAssembler, MissingBaseLayer
from builder.errors import IntegrityError
from builder.events import Progress
from builder.host import Host
from builder.host.fs import NotEnoughRoom
from builder.host.trees import StagedTree
from builder.oci.descriptor import DOCKER_LAYER_GZIP, Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import layer_contents
from builder.oci.layer_writer import ChangedFile
from builder.oci.layout import Layout
from builder.oci.reference import PinnedReference
from builder.oci.validate import validate_image
from builder.plan.image import ImagePlan, LayerRole, UpstreamBase
from tests.support.disks import leave_free
from tests.support.hosts import RecordedEvents, real_host
from tests.support.images import small_plan


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path / "store", {})


def bytes_written(host: Host) -> int:
    assert isinstance(host.events, RecordedEvents)
    done = [event.done for event in host.events.events if isinstance(event, Progress)]
    host.events.events.clear()
    return done[-1] if done else 0


def test_a_layer_is_written_once(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    first = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "one")
    assert bytes_written(host) == sum(layer.size for layer in plan.layers)

    nothing = StagedTree(entries=tree.entries, files={})
    second = EmbeddedAssembler(host).assemble(plan, nothing, tmp_path / "two")

    assert bytes_written(host) == 0
    assert second.manifest == first.manifest
    validate_image(second.layout, second.manifest.descriptor)


def test_only_what_changed_is_written_again(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    first = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "one")
    bytes_written(host)
    model = plan.layers[-1]
    changed = replace(plan, layers=(plan.layers[0], replace(model, entries=model.entries[:-1])))

    second = EmbeddedAssembler(host).assemble(changed, tree, tmp_path / "two")

    assert bytes_written(host) == changed.layers[-1].size
    assert second.layers[0] == first.layers[0]
    assert second.layers[1] != first.layers[1]


def test_a_layout_on_another_disk_needs_room(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    assembler = EmbeddedAssembler(host)
    leave_free(0, monkeypatch)
    assembler.assemble(plan, tree, tmp_path / "links")
    monkeypatch.setattr(embedded, "on_one_device", lambda *_: False)
    with pytest.raises(NotEnoughRoom, match="for the image"):
        assembler.assemble(plan, tree, tmp_path / "copies")
    assert not (tmp_path / "copies").exists()
    assembler.assemble(plan, tree, tmp_path / "links")


def test_two_hosts_make_the_same_digest(tmp_path: Path) -> None:
    images = []
    for name in ("a", "b"):
        plan, tree = small_plan(tmp_path / name / "tree")
        host = real_host(tmp_path / name / "store", {})
        images.append(EmbeddedAssembler(host).assemble(plan, tree, tmp_path / name / "layout"))

    assert images[0].digest == images[1].digest


def test_a_lost_blob_is_written_again(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    first = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "one")
    host.store.blob_path(first.layers[0].descriptor.digest).unlink()

    second = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "two")

    assert second.digest == first.digest
    validate_image(second.layout, second.manifest.descriptor)


def test_a_changed_file_stops_the_build_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    victim = next(entry for entry in tree.entries if entry.path.name == "model.onnx")
    assert victim.digest is not None
    tree.path(victim.digest).write_bytes(b"changed")

    with pytest.raises(ChangedFile, match=r"model\.onnx"):
        EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "layout")

    assert not (tmp_path / "layout").exists()
    blobs = list((host.store.root / "blobs/sha256").iterdir())
    assert all(Digest.of(blob.read_bytes()).hex == blob.name for blob in blobs)


@pytest.mark.parametrize("damage", [b"", b"flipped"], ids=["truncated", "flipped"])
def test_a_damaged_blob_is_written_again_and_mends_the_layout(host: Host, tmp_path: Path, damage: bytes) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    first = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "layout")
    path = host.store.blob_path(first.layers[1].descriptor.digest)
    with path.open("r+b") as blob:  # in place: the layout's blob is the same file
        blob.truncate() if not damage else blob.write(damage)

    second = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "layout")

    assert second.digest == first.digest
    validate_image(second.layout, second.manifest.descriptor)


def test_a_layer_that_is_not_as_its_writer_said_is_not_returned(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    monkeypatch.setattr("builder.oci.layer_writer.tar.END", b"")
    monkeypatch.setattr("builder.oci.layer_writer._GzipStream.write", lambda stream, chunk: None)

    with pytest.raises(IntegrityError):
        EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "two")


def on_upstream(host: Host, plan: ImagePlan, tree: StagedTree, directory: Path) -> ImagePlan:
    """The plan on top of an upstream image that is itself the plan's base layer under other settings."""
    settings = replace(
        plan.config, env=(("PATH", "/upstream"), ("KEPT", "yes")), labels=(("from", "upstream"),), user="0", ports=(9,)
    )
    base = EmbeddedAssembler(host).assemble(replace(plan, layers=plan.layers[:1], config=settings), tree, directory)
    layer = base.layers[0]
    docker = replace(layer.descriptor, media_type=DOCKER_LAYER_GZIP)
    upstream = UpstreamBase(
        reference=PinnedReference(registry="localhost:5000", repository="base", digest=base.digest),
        layers=(docker,),
        diff_ids=(layer.diff_id,),
        config=base.config.raw,
    )
    return replace(plan, base=upstream, layers=plan.layers[1:])


def test_an_upstream_base_lends_layers_and_settings(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    own = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "own")

    image = EmbeddedAssembler(host).assemble(
        on_upstream(host, plan, tree, tmp_path / "base"), tree, tmp_path / "layout"
    )

    assert image.layers == own.layers  # the same bytes, under OCI's media types
    assert image.layers[0].role is LayerRole.BASE
    settings = image.config.settings
    assert settings["Env"] == ["PATH=/usr/bin", "KEPT=yes", 'GREETING=say "hello", pay $5']
    assert settings["Labels"] == {"from": "upstream", **dict(plan.config.labels)}
    assert settings["User"] == plan.config.user
    assert settings["ExposedPorts"] == {"8000/tcp": {}, "9/tcp": {}}
    assert len(image.config.fields["history"]) == 2
    assert layer_contents(image.manifest, image.config) == layer_contents(own.manifest, own.config) == ("", "digits")
    validate_image(image.layout, Layout(tmp_path / "layout").find())


def test_a_base_layer_that_was_not_pulled_is_named(host: Host, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    based = on_upstream(host, plan, tree, tmp_path / "base")
    assert based.base is not None
    missing = Descriptor.of(b"never pulled", DOCKER_LAYER_GZIP)
    based = replace(based, base=replace(based.base, layers=(missing,)))

    with pytest.raises(MissingBaseLayer, match=str(missing.digest)):
        EmbeddedAssembler(host).assemble(based, tree, tmp_path / "layout")
