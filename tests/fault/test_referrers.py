"""Artifacts about an image, in a registry that lists them itself and in one that does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host import Host
from builder.oci.descriptor import IMAGE_INDEX, Descriptor
from builder.oci.reference import PinnedReference
from builder.registry.push import push
from builder.registry.referrers import TooManyReferrers, list_referrers, push_referrer
from tests.support.artifacts import BOM, SIGNATURE, artifact
from tests.support.hosts import ImpatientClock
from tests.support.registry_faults import Status
from tests.support.scripted_registry import Abilities, ScriptedRegistry
from tests.support.tiny_image import tiny_layout

Image = tuple[ScriptedRegistry, PinnedReference, Descriptor]


@pytest.fixture
def host(make_host: Callable[..., Host], tmp_path: Path) -> Host:
    return replace(make_host(tmp_path / "cache", {"HOME": str(tmp_path)}), clock=ImpatientClock())


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def image(request: pytest.FixtureRequest, host: Host, tmp_path: Path) -> Iterator[Image]:
    """A registry with or without the API, and an image in it."""
    with ScriptedRegistry(abilities=Abilities(referrers=request.param)) as registry:
        layout = tiny_layout(tmp_path)
        pushed = push(layout, registry.reference(), host)
        yield registry, pushed.reference, layout.manifest(layout.find()).descriptor


def fallback_tags(registry: ScriptedRegistry) -> list[str]:
    return [name for _, name in registry.manifests if name.startswith("sha256-")]


def test_what_is_attached_is_listed_by_type(image: Image, host: Host) -> None:
    registry, reference, subject = image
    assert list_referrers(reference, host) == ()
    bom, signature = artifact(subject, BOM, b"{}"), artifact(subject, SIGNATURE, b"signed")
    for one in (bom, signature):
        assert push_referrer(reference, one, host).reference.digest == one.top.descriptor.digest
    assert not registry.missing()
    listed = list_referrers(reference, host)
    assert [(one.artifact_type, one.digest) for one in listed] == [
        (BOM, bom.top.descriptor.digest),
        (SIGNATURE, signature.top.descriptor.digest),
    ]
    assert listed[0].annotations == {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"}
    assert [one.digest for one in list_referrers(reference, host, SIGNATURE)] == [signature.top.descriptor.digest]
    assert fallback_tags(registry) == ([] if registry.can.referrers else [f"sha256-{subject.digest.hex}"])


def test_attaching_again_changes_nothing(image: Image, host: Host) -> None:
    registry, reference, subject = image
    push_referrer(reference, artifact(subject, BOM, b"{}"), host)
    before = dict(registry.manifests)
    assert push_referrer(reference, artifact(subject, BOM, b"{}"), host).uploaded == 0
    assert registry.manifests == before


def test_many_at_once_are_all_listed(image: Image, host: Host) -> None:
    _, reference, subject = image
    artifacts = [artifact(subject, BOM, str(number).encode()) for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda one: push_referrer(reference, one, host), artifacts))
    for one in artifacts:  # who lost a race against the others notices at the latest here
        push_referrer(reference, one, host)
    assert {one.digest for one in list_referrers(reference, host)} == {a.top.descriptor.digest for a in artifacts}


def test_the_list_of_another_tool_is_kept_as_it_is(host: Host, tmp_path: Path) -> None:
    with ScriptedRegistry(abilities=Abilities(referrers=False)) as registry:
        layout = tiny_layout(tmp_path)
        reference, subject = push(layout, registry.reference(), host).reference, layout.find()
        push_referrer(reference, artifact(subject, BOM, b"{}"), host)
        name = ("tiny", f"sha256-{subject.digest.hex}")
        value = json.loads(registry.manifests[name][1])
        value["annotations"] = {"by": "another tool"}
        value["manifests"][0]["data"] = "e30="
        registry.manifests[name] = (IMAGE_INDEX, json.dumps(value).encode())
        push_referrer(reference, artifact(subject, SIGNATURE, b"signed"), host)
        after = json.loads(registry.manifests[name][1])
        assert after["annotations"] == value["annotations"]
        assert after["manifests"][:1] == value["manifests"]
        assert after["manifests"][1]["artifactType"] == SIGNATURE


def test_a_list_without_end_is_left(host: Host, tmp_path: Path) -> None:
    with ScriptedRegistry() as registry:
        reference = push(tiny_layout(tmp_path), registry.reference(), host).reference
        again = {"Link": f'</v2/tiny/referrers/{reference.digest}>; rel="next"'}
        body = b'{"schemaVersion": 2, "manifests": []}'
        registry.next("GET", "/referrers/", Status(200, again, body=body), times=1000)
        with pytest.raises(TooManyReferrers):
            list_referrers(reference, host)
