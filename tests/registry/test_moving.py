"""Moving images in and out of a real registry over wires that are cut, and what is peculiar to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host import Host
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.packages.copy import copy_image
from builder.pipeline.packages.pull import pull_image
from builder.registry.credentials import acting_for
from builder.registry.push import push
from builder.registry.referrers import push_referrer
from tests.support.artifacts import BOM, artifact
from tests.support.cutting import cutting_wire
from tests.support.hosts import ImpatientClock
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import AMD64, tiny_layout

pytestmark = pytest.mark.registry
ARM64 = Platform(os="linux", architecture="arm64")
WEIGHTS = random.Random(11).randbytes(6_000_000)


@pytest.fixture
def host(registry: SecuredRegistry, make_host: Callable[..., Host]) -> Host:
    environ = {name: value for name, value in registry.environ.items() if name != "MBUILD_REGISTRY"}
    return replace(make_host(environ=environ), clock=ImpatientClock())


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return tiny_layout(tmp_path_factory.mktemp("image"), weights=WEIGHTS, roles=("base", "model"))


@pytest.mark.parametrize("cuts", [[(1_000_000, 0)], [(3_000_000, 0), (5_000_000, 0)], [(100, 0), (2_000, 0)]], ids=str)
def test_a_push_over_a_wire_that_is_cut(
    registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path, cuts: list[tuple[int, int]]
) -> None:
    reference = registry.fresh("cut")
    with cutting_wire(int(registry.name.rpartition(":")[2]), cuts) as port:
        there = replace(reference, registry=f"localhost:{port}")
        result = push(layout, there, host)
        assert result.reference.digest == layout.find().digest
        pulled = pull_image(there, AMD64, tmp_path / "out", host)
    assert (Layout(pulled.path).find().digest, result.uploaded > len(WEIGHTS)) == (layout.find().digest, True)


def test_a_pull_over_a_wire_that_is_cut(registry: SecuredRegistry, host: Host, layout: Layout, tmp_path: Path) -> None:
    reference = registry.fresh("cut")
    push(layout, reference, host)
    cuts = [(0, 2_000_000), (0, 2_500_000)]
    with cutting_wire(int(registry.name.rpartition(":")[2]), cuts) as port:
        pulled = pull_image(replace(reference, registry=f"localhost:{port}"), AMD64, tmp_path / "out", host)
    assert Layout(pulled.path).find().digest == layout.find().digest
    manifest = layout.manifest(layout.find())
    for blob in (*manifest.layers, manifest.config):
        assert b"".join(Layout(pulled.path).read_blob(blob)) == b"".join(layout.read_blob(blob))


def test_the_list_of_artifacts_is_an_index_that_can_be_copied(
    registry: SecuredRegistry, host: Host, layout: Layout
) -> None:
    """docker-registry 2.8 has no referrers API: they are listed under a tag."""
    host = acting_for(registry.name, host)
    pushed, subject = push(layout, registry.fresh("subject"), host).reference, layout.find()
    push_referrer(pushed, artifact(subject, BOM, b"{}"), host)
    tag = Reference(registry=pushed.registry, repository=pushed.repository, tag=f"sha256-{subject.digest.hex}")
    assert copy_image(str(tag), registry.fresh("elsewhere"), host).uploaded > 0
