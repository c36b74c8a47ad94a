"""What an image in a real registry says of itself, and the report that is attached to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host import Host
from builder.model.measured import REPORT_TYPE, Measured
from builder.oci.graph import layout_graph
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.packages.copy import copy_image
from builder.pipeline.packages.differences import diff_packages
from builder.pipeline.packages.existing import push_layout
from builder.pipeline.packages.listing import list_packages
from builder.pipeline.packages.package import NotAnImage, inspect_image, inspect_layout
from builder.pipeline.packages.pull import pull_image
from builder.pipeline.packages.remove import StillNeeded, plan_removal, remove
from builder.pipeline.packages.report import write_report
from builder.pipeline.packages.tag import AnotherRepository, tag_image
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for
from builder.registry.errors import NotThere
from builder.registry.listing import all_tags, list_repositories, list_tags
from builder.registry.referrers import list_referrers, push_referrer
from builder.registry.versions import VersionTaken
from tests.support.artifacts import BOM, artifact
from tests.support.faces import FACE
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import AMD64, tiny_layout

pytestmark = pytest.mark.registry
ARM64 = Platform(os="linux", architecture="arm64")
REPORT = {"platforms": [{"platform": "linux/amd64", "test": {"ready_seconds": 0.5}}]}


@pytest.fixture
def host(registry: SecuredRegistry, make_host: Callable[..., Host]) -> Host:
    """As of one who sets a user and a password, and pushes: which registry they are for goes without saying."""
    return make_host(environ={name: value for name, value in registry.environ.items() if name != "MBUILD_REGISTRY"})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return tiny_layout(tmp_path, labels=FACE.to_labels())


def test_a_face_and_its_report_travel_and_are_there_once(registry: SecuredRegistry, host: Host, layout: Layout) -> None:
    write_report(layout.path, layout.find().digest, json.dumps(REPORT).encode())
    reference = registry.fresh("package")
    pushed = [push_layout(layout.path, reference, host).reference for _ in range(2)]
    assert len(list_referrers(pushed[0], acting_for(registry.name, host))) == 1
    there = registry.fresh("copied")
    copy_image(str(reference), there, host)
    for place in (reference, there):
        package = inspect_image(place, AMD64, host)
        assert (package.face, package.digest) == (FACE, layout.find().digest)
        assert package.measured is not None
        assert package.measured.ready_seconds == 0.5


def test_of_an_index_the_platform_that_is_asked_for(
    registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path
) -> None:
    tiny_layout(tmp_path, platform=ARM64)
    write_report(layout.path, layout_graph(layout).top.descriptor.digest, json.dumps(REPORT).encode())
    reference = registry.fresh("index")
    pushed = push_layout(layout.path, reference, host).reference
    package = inspect_image(reference, ARM64, host)
    assert (package.digest, package.platform, package.face) == (pushed.digest, ARM64, None)
    assert [str(platform) for platform, _ in package.platforms] == ["linux/amd64", "linux/arm64"]
    package = inspect_image(reference, AMD64, host)
    assert (package.face, package.measured) == (FACE, Measured(ready_seconds=0.5))
    by_digest = replace(reference, tag="", digest=package.manifest.digest)
    assert inspect_image(by_digest, AMD64, host).measured == package.measured, "an image does not lead to its index"
    for platform in (None, AMD64):
        pulled = pull_image(reference, platform, tmp_path / f"{platform}".replace("/", "-"), host)
        assert inspect_layout(pulled.path, AMD64).measured == package.measured


def test_an_artifact_is_no_image(registry: SecuredRegistry, host: Host, layout: Layout) -> None:
    pushed = push_layout(layout.path, registry.fresh("subject"), host).reference
    bom = artifact(layout.find(), BOM, b"{}")
    push_referrer(pushed, bom, host)
    there = Reference(registry=pushed.registry, repository=pushed.repository, digest=bom.top.descriptor.digest)
    with pytest.raises(NotAnImage, match=re.escape(BOM)):
        inspect_image(there, AMD64, host)


def test_other_bytes_do_not_take_the_place_of_a_version(
    registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path
) -> None:
    other, version = tiny_layout(tmp_path / "other", weights=b"others"), registry.fresh("package", "1.0.0")
    first = push_layout(layout.path, version, host).reference
    assert push_layout(layout.path, version, host).reference == first, "the same bytes may come again"
    with pytest.raises(VersionTaken, match=str(first.digest)):
        push_layout(other.path, version, host)
    with pytest.raises(VersionTaken):
        copy_image(str(other.path), version, host)
    source = acting_for(registry.name, host)
    client = connect(version, Purpose.PUSH, host)
    assert not client.has_blob(other.manifest(other.find()).layers[1]), "nothing was uploaded"
    assert inspect_image(version, AMD64, source).digest == first.digest
    moved = push_layout(other.path, version, host, force=True).reference
    assert inspect_image(version, AMD64, source).digest == moved.digest != first.digest


def test_a_tag_is_given_and_moved_and_a_version_only_given(
    registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path
) -> None:
    one = registry.fresh("package", "1.0.0")
    two, stable = replace(one, tag="1.1.0"), replace(one, tag="stable")
    digests = [
        push_layout(place.path, version, host).reference.digest
        for place, version in ((layout, one), (tiny_layout(tmp_path / "other", weights=b"others"), two))
    ]
    for version, digest in zip((one, two), digests, strict=True):
        tagged = tag_image(version, "stable", host)
        assert (tagged.tag, tagged.reference.digest) == ("stable", digest)
        assert inspect_image(stable, AMD64, host).digest == digest
    found = diff_packages(str(one), str(two), AMD64, host)
    assert (found.before.digest, found.after.digest) == tuple(digests)
    assert 0 < found.to_fetch < found.after.size, "they share a layer"
    with pytest.raises(VersionTaken, match=str(digests[0])):
        tag_image(stable, str(one), host)
    assert tag_image(stable, str(one), host, force=True).reference.digest == digests[1]
    with pytest.raises(AnotherRepository):
        tag_image(one, str(registry.fresh("elsewhere")), host)


def test_a_registry_lists_repositories_and_tags(
    registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = registry.fresh("package", "1.0.0")
    first = push_layout(layout.path, one, host).reference
    push_referrer(first, artifact(layout.find(), BOM, b"{}"), host)
    tag_image(one, "bom", host)
    push_layout(tiny_layout(tmp_path / "other", platform=ARM64).path, replace(one, tag="2.0.0"), host)
    host = acting_for(registry.name, host)
    assert one.repository in list_repositories(registry.name, host)
    monkeypatch.setattr("builder.registry.listing._PAGE", 1)
    entries = {entry.reference.tag: entry for entry in list_packages(f"{one.registry}/{one.repository}", host)}
    assert list(entries) == ["1.0.0", "2.0.0", "bom"], "the list of referrers has a tag, too, which nobody gave"
    package = entries["1.0.0"].package
    assert package is not None
    assert (package.digest, package.face) == (first.digest, FACE)
    assert entries["1.0.0"].to_json()["models"] == ["digits:1.0.0"]
    assert entries["2.0.0"].to_json()["platforms"] == ["linux/arm64"]
    assert entries["2.0.0"].to_json()["models"] == []
    with pytest.raises(NotThere):
        list_packages(f"{one.registry}/{one.repository}-not", host)


def test_a_tag_goes_alone_and_the_last_one_with_all_there_is(
    registry: SecuredRegistry, host: Host, layout: Layout
) -> None:
    """distribution 2 removes manifests alone, and lists no referrers."""
    one = registry.fresh("package", "1.0.0")
    write_report(layout.path, layout.find().digest, json.dumps(REPORT).encode())
    pushed = push_layout(layout.path, one, host).reference
    tag_image(one, "stable", host)
    remove(plan_removal([one], host), host)
    acting = acting_for(registry.name, host)
    assert list_tags(one, acting) == ("stable",)
    assert inspect_image(replace(one, tag="stable"), AMD64, host).measured is not None
    with pytest.raises(StillNeeded, match="stable"):
        plan_removal([replace(one, tag="", digest=pushed.digest)], host)
    plan = plan_removal([replace(one, tag="stable")], host)
    assert ([one.tags for one in plan.images], [one.artifact_type for one in plan.attached]) == (
        [("stable",)],
        [REPORT_TYPE],
    )
    remove(plan, host)
    assert all_tags(connect(one, Purpose.PULL, acting)) == ()
    for name in (str(pushed.digest), str(plan.attached[0].digest)):
        with pytest.raises(NotThere):
            connect(one, Purpose.PULL, acting).fetch_manifest(name)
