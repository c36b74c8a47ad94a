"""Pushes to a registry that cuts, limits, loses, lies and expires: what is sent again, and what the tag points to."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import RegistryError
from builder.events import PartProgress
from builder.host import Host
from builder.oci.descriptor import LAYER_TAR, Descriptor
from builder.oci.graph import Blob, Graph
from builder.oci.layout import Layout
from builder.oci.manifest import Document, Manifest
from builder.registry.push import push, push_graph
from builder.registry.upload import BodyTooLarge, UploadLost
from tests.support.hosts import ImpatientClock, RecordedEvents
from tests.support.registry_answers import BearerAuth
from tests.support.registry_faults import Drop, Expired, Fault, Forget, Hangup, Misreport, Status, Swallow
from tests.support.scripted_registry import Abilities, ScriptedRegistry
from tests.support.tiny_image import tiny_layout

SIZE = 300_000
WEIGHTS = random.Random(5).randbytes(1_500_000)
PASSWORD = "hunter2 and more"
SIGNED_IN = {"MBUILD_REGISTRY_USERNAME": "ada", "MBUILD_REGISTRY_PASSWORD": PASSWORD}
UPLOADS = "/blobs/uploads/"


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as running:
        yield running


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
def host(make_host: Callable[..., Host], clock: ImpatientClock, tmp_path: Path) -> Host:
    return replace(make_host(tmp_path / "cache", {**SIGNED_IN, "HOME": str(tmp_path)}), clock=clock)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A gzip layer of a few hundred bytes and a plain one of 1.5 MB."""
    return tiny_layout(tmp_path_factory.mktemp("image"), weights=WEIGHTS)


@pytest.fixture
def weights(layout: Layout) -> Descriptor:
    return layout.manifest(layout.find()).layers[1]


def assert_whole(registry: ScriptedRegistry, layout: Layout, repository: str = "tiny") -> None:
    """The tag is there, and all that it leads to, byte for byte."""
    manifest = layout.manifest(layout.find())
    assert registry.manifests[repository, "1"][1] == manifest.raw
    for blob in (*manifest.layers, manifest.config):
        assert registry.blobs[repository, str(blob.digest)] == b"".join(layout.read_blob(blob))


@pytest.fixture
def ready(registry: ScriptedRegistry, layout: Layout) -> ScriptedRegistry:
    """The registry, which lacks only the weights."""
    manifest = layout.manifest(layout.find())
    for blob in (manifest.layers[0], manifest.config):
        registry.blobs["tiny", str(blob.digest)] = b"".join(layout.read_blob(blob))
    return registry


# cuts


@pytest.mark.parametrize("seed", range(5))
def test_an_upload_goes_on_where_it_was_cut(
    ready: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, seed: int
) -> None:
    cuts = sorted(random.Random(seed).sample(range(1, weights.size), 2))
    ready.next("PUT", UPLOADS, Swallow(cuts[0]))
    ready.next("PATCH", UPLOADS, Swallow(cuts[1] - cuts[0]))
    result = push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert ready.chunks == [weights.size - cuts[1]], "what the registry has is not sent again"
    assert result.uploaded == weights.size + len(layout.manifest(layout.find()).raw)


def test_a_registry_that_forgets_what_was_cut_gets_it_anew(
    ready: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor
) -> None:
    ready.next("PUT", UPLOADS, Swallow(1_000_000))
    ready.next("GET", UPLOADS, Status(404, code="BLOB_UPLOAD_UNKNOWN"))
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert len(ready.asked("POST", UPLOADS)) == 2


def test_only_progress_renews_the_patience(
    ready: ScriptedRegistry, host: Host, clock: ImpatientClock, layout: Layout
) -> None:
    ready.next("PUT", UPLOADS, Swallow(10), times=100)
    ready.next("PATCH", UPLOADS, Swallow(10), times=100)
    with pytest.raises(RegistryError):
        push(layout, ready.reference(), host)
    assert clock.waits == [0.5, 1.0, 2.0]
    assert not ready.manifests


def test_an_answer_that_got_lost_costs_no_second_upload(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.next("PUT", UPLOADS, Drop())
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert len(ready.asked("PUT", UPLOADS)) == 1


def test_a_registry_without_chunks_gets_it_whole_again(
    ready: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor
) -> None:
    ready.can = Abilities(chunks=False)
    ready.next("PUT", UPLOADS, Swallow(1_000_000))
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)


# limits


def test_who_takes_no_large_body_gets_smaller_ones(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.can = Abilities(largest_body=300_000)
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert max(ready.chunks) <= 300_000
    assert len(ready.chunks) > 4


def test_what_was_learnt_of_one_layer_holds_for_the_next(
    registry: ScriptedRegistry, host: Host, clock: ImpatientClock, tmp_path: Path
) -> None:
    registry.can = Abilities(largest_body=700_000)
    layers = [random.Random(seed).randbytes(1_500_000) for seed in range(6)]
    push_graph(artifact(layers), registry.reference(), host)
    assert not registry.missing()
    refused = sum(1 for one in registry.requests if int(one.headers.get("Content-Length", 0)) > 700_000)
    assert refused <= 4, "those that were under way at the time"
    assert clock.waits == []


def test_a_limit_below_all_reason_is_named(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.can = Abilities(largest_body=50_000)
    with pytest.raises(BodyTooLarge, match="takes no request of") as caught:
        push(layout, ready.reference(), host)
    assert "proxy" in caught.value.advice
    assert not ready.manifests


def test_a_chunk_is_as_large_as_the_registry_wants(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.can = Abilities(largest_body=900_000, least_chunk=600_000)
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert ready.chunks[0] == 600_000


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_chunk_that_is_refused_for_now_is_sent_again(
    ready: ScriptedRegistry, host: Host, clock: ImpatientClock, layout: Layout, status: int
) -> None:
    ready.can = Abilities(largest_body=400_000)
    ready.next("PATCH", UPLOADS, Status(status, {"Retry-After": "3"}), times=2)
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)
    assert clock.waits == [3.0, 3.0]


# lies


@pytest.mark.parametrize("offset", [0, 700, 1_400_000, 1 << 40])
def test_a_wrong_offset_costs_a_try_and_no_wrong_byte(
    ready: ScriptedRegistry, host: Host, layout: Layout, offset: int
) -> None:
    ready.next("PUT", UPLOADS, Swallow(1_000_000))
    ready.next("GET", UPLOADS, Misreport(offset))
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)


def test_a_chunk_that_was_not_taken_whole_is_gone_on_with(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.can = Abilities(largest_body=400_000)
    ready.next("PATCH", UPLOADS, Misreport(100))
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)


def test_who_always_lies_is_left(ready: ScriptedRegistry, host: Host, clock: ImpatientClock, layout: Layout) -> None:
    ready.can = Abilities(largest_body=400_000)
    for verb in ("PATCH", "GET"):
        ready.next(verb, UPLOADS, Misreport(100), times=1000)
    with pytest.raises(UploadLost, match="lost the upload"):
        push(layout, ready.reference(), host)
    assert not ready.manifests
    assert len(clock.waits) == 3


def test_out_of_order_is_put_in_order(ready: ScriptedRegistry, host: Host, layout: Layout) -> None:
    ready.can = Abilities(largest_body=400_000)
    ready.next("PATCH", UPLOADS, Status(416, code="RANGE_INVALID"))
    push(layout, ready.reference(), host)
    assert_whole(ready, layout)


def test_what_is_gone_when_the_manifest_comes_is_uploaded_again(
    registry: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor
) -> None:
    """The registry said of every blob that it has it, and its clean-up ran."""
    registry.next("HEAD", "/blobs/", Status(200), times=3)
    result = push(layout, registry.reference(), host)
    assert_whole(registry, layout)
    assert (result.reused, result.mounted) == (0, 0)


def test_what_is_forgotten_for_ever_is_never_tagged(registry: ScriptedRegistry, host: Host, layout: Layout) -> None:
    registry.next("PUT", UPLOADS, Forget(), times=100)
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        push(layout, registry.reference(), host)
    assert not registry.manifests
    assert len(registry.asked("PUT", "/manifests/")) == 2


# tokens


@pytest.mark.parametrize(
    ("verb", "path"), [("POST", UPLOADS), ("PATCH", UPLOADS), ("PUT", "state=2"), ("GET", UPLOADS)]
)
def test_a_token_that_expires_in_mid_upload_is_renewed(host: Host, layout: Layout, verb: str, path: str) -> None:
    with ScriptedRegistry(BearerAuth("ada", PASSWORD), Abilities(largest_body=400_000)) as registry:
        registry.next("PATCH", UPLOADS, Swallow(1000))
        registry.next(verb, path, Expired())
        push(layout, registry.reference(), host)
        assert_whole(registry, layout)
        assert len(registry.tokens) == 2


def test_a_token_is_renewed_before_a_body_is_sent_in_vain(host: Host, layout: Layout) -> None:
    with ScriptedRegistry(BearerAuth("ada", PASSWORD, seconds=0.2), Abilities(largest_body=100_000)) as registry:
        push(layout, registry.reference(), host)
        assert_whole(registry, layout)


# elsewhere


def test_what_was_pushed_to_one_repository_is_mounted_in_the_next(
    registry: ScriptedRegistry, host: Host, layout: Layout
) -> None:
    first = push(layout, registry.reference("team/first"), host)
    second = push(layout, registry.reference("team/second"), host)
    assert second.mounted == first.uploaded - len(layout.manifest(layout.find()).raw)
    assert_whole(registry, layout, "team/second")
    assert len(registry.asked("PUT", "/second/blobs/")) == 0


def test_who_does_not_mount_gets_an_upload_in_the_one_that_it_opened(
    registry: ScriptedRegistry, host: Host, layout: Layout
) -> None:
    push(layout, registry.reference("team/first"), host)
    registry.can = Abilities(mounts=False)
    result = push(layout, registry.reference("team/second"), host)
    assert result.mounted == 0
    assert_whole(registry, layout, "team/second")
    assert len(registry.asked("POST", "/second/")) == 3
    assert not registry.uploads


def test_who_may_not_read_the_other_repository_uploads(registry: ScriptedRegistry, host: Host, layout: Layout) -> None:
    push(layout, registry.reference("team/first"), host)
    registry.next("POST", "mount=", Status(403, code="DENIED"), times=3)
    push(layout, registry.reference("team/second"), host)
    assert_whole(registry, layout, "team/second")


# streams


def artifact(layers: list[bytes]) -> Graph:
    """Graph that lies nowhere: its bytes are made as they are read."""

    def stream(content: bytes) -> Blob:
        pieces = [content[start : start + 10_007] for start in range(0, len(content), 10_007)]
        return Blob(descriptor=Descriptor.of(content, LAYER_TAR), open=lambda: iter(pieces), role="model")

    blobs = [stream(layer) for layer in layers]
    manifest = Manifest.build(config=blobs[0].descriptor, layers=[blob.descriptor for blob in blobs[1:]])
    document = Document(descriptor=manifest.descriptor, raw=manifest.raw)
    return Graph(blobs=tuple(blobs), documents=(document,))


def test_layers_need_not_lie_on_a_disk(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    registry.next("PUT", UPLOADS, Swallow(300_000), times=2)
    result = push_graph(artifact([WEIGHTS, WEIGHTS[::-1]]), registry.reference(), host)
    assert not registry.missing()
    assert result.to_json()["by_role"] == {
        "model": {"uploaded": 2 * len(WEIGHTS)},
        "manifest": {"uploaded": len(registry.manifests["tiny", "1"][1])},
    }
    assert not list((tmp_path / "cache").rglob("sha256/*"))


def test_each_layer_tells_how_far_it_is(registry: ScriptedRegistry, host: Host, layout: Layout) -> None:
    push(layout, registry.reference(), host)
    assert isinstance(host.events, RecordedEvents)
    parts = [event for event in host.events.events if isinstance(event, PartProgress)]
    weights = [event for event in parts if event.total > len(WEIGHTS)]
    assert [event.done for event in weights] == sorted(event.done for event in weights)
    assert (weights[-1].done, weights[-1].outcome) == (weights[-1].total, "uploaded")
    assert {event.outcome for event in parts} == {"", "uploaded"}


# everything together


def any_fault(chance: random.Random) -> tuple[str, str, Fault]:
    """A verb, a part of a path, and what goes wrong there."""
    verb, path = chance.choice([("POST", UPLOADS), ("PUT", UPLOADS), ("PATCH", UPLOADS), ("GET", UPLOADS)] * 2 + _REST)
    faults: list[Fault] = [Hangup(), Drop(), Status(chance.choice([408, 416, 429, 500, 502, 503, 504]))]
    if path == UPLOADS:
        faults += [Swallow(chance.randrange(SIZE)), Misreport(chance.randrange(2 * SIZE))]
        faults += [Status(chance.choice([400, 404, 413])), Forget()]
    return verb, path, chance.choice(faults)


_REST = [("HEAD", "/blobs/"), ("PUT", "/manifests/"), ("HEAD", "/manifests/"), ("GET", "/v2/")]


def test_a_hundred_pushes_under_faults(make_host: Callable[..., Host], tmp_path: Path) -> None:
    """Each ends well or with a registry's error, leaves no tag that points to something missing, and is finished by
    running it again, which uploads only what is missing."""
    layout, ended_well = tiny_layout(tmp_path, weights=WEIGHTS[:SIZE]), 0
    for seed in range(100):
        chance = random.Random(seed)
        abilities = Abilities(largest_body=chance.choice([1 << 30, 150_000]), mounts=chance.random() < 0.5)
        with ScriptedRegistry(abilities=abilities) as registry:
            environ = SIGNED_IN | {"MBUILD_PLAIN_HTTP": registry.name}
            host = replace(make_host(tmp_path / "cache", environ), clock=ImpatientClock())
            for _ in range(chance.randrange(1, 7)):
                registry.next(*any_fault(chance), times=chance.choice([1, 1, 2, 5]))
            try:
                push(layout, registry.reference(), host)
                ended_well += 1
            except RegistryError:
                pass
            assert not registry.missing(), f"seed {seed}"
            registry.forgive()
            there = {digest for _, digest in registry.blobs}
            again = push(layout, registry.reference(), host)
            assert_whole(registry, layout)
            manifest = layout.manifest(layout.find())
            blobs = (*manifest.layers, manifest.config)
            lacking = sum(blob.size for blob in blobs if str(blob.digest) not in there)
            assert again.uploaded in (lacking, lacking + len(manifest.raw)), f"seed {seed}"
    assert 30 < ended_well < 100, "some faults are survived, some cannot be"
