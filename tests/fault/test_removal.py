"""Tags and images out of registries that remove tags, manifests alone, or nothing; with and without a list of
referrers of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cli.app import main
from builder.events import Warned
from builder.host import Host
from builder.oci.descriptor import IMAGE_MANIFEST, Descriptor
from builder.oci.graph import index_of, joined, layout_graph
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.pipeline.packages.remove import (
    NoTagNamed,
    Removal,
    RemovalIncomplete,
    SeveralRepositories,
    StillNeeded,
    plan_removal,
    remove,
)
from builder.pipeline.packages.tag import tag_image
from builder.registry.errors import DeletionRefused, NotThere
from builder.registry.push import push, push_graph
from builder.registry.referrers import list_referrers, push_referrer
from builder.registry.removal import TagStandsIn
from tests.support.artifacts import BOM, SIGNATURE, artifact
from tests.support.hosts import ImpatientClock, RecordedEvents
from tests.support.registry_answers import BearerAuth
from tests.support.registry_faults import Status
from tests.support.scripted_registry import Abilities, ScriptedRegistry
from tests.support.tiny_image import tiny_layout

ARM64 = Platform(os="linux", architecture="arm64")
WAYS = [(deletes, api) for deletes in ("all", "manifests") for api in (True, False)]


@pytest.fixture
def host(make_host: Callable[..., Host], tmp_path: Path) -> Host:
    return replace(make_host(tmp_path / "cache", {"HOME": str(tmp_path)}), clock=ImpatientClock())


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-{'api' if way[1] else 'tag'}")
def registry(request: pytest.FixtureRequest) -> Iterator[ScriptedRegistry]:
    deletes, api = request.param
    with ScriptedRegistry(abilities=Abilities(deletes=deletes, referrers=api)) as running:
        yield running


@contextmanager
def of(deletes: str) -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry(abilities=Abilities(deletes=deletes)) as running:
        yield running


def pushed(registry: ScriptedRegistry, host: Host, place: Path, tag: str = "1", **image: object) -> PinnedReference:
    """An image with what is about it, and something about that."""
    graph = layout_graph(tiny_layout(place, **image))  # type: ignore[arg-type]
    reference = push_graph(graph, registry.reference(tag=tag), host).reference
    bom = artifact(graph.top.descriptor, BOM, tag.encode())
    push_referrer(reference, bom, host)
    signed = Reference(registry=reference.registry, repository=reference.repository).at(bom.top.descriptor.digest)
    push_referrer(signed, artifact(bom.top.descriptor, SIGNATURE, b"signed"), host)
    return reference


def named(reference: PinnedReference) -> Reference:
    return Reference(registry=reference.registry, repository=reference.repository, digest=reference.digest)


def removed(host: Host, *references: Reference, force: bool = False) -> Removal:
    plan = plan_removal(references, host, force=force)
    remove(plan, host)
    return plan


def tags(registry: ScriptedRegistry) -> list[str]:
    return sorted(tag for _, tag in registry.manifests if ":" not in tag)


def test_the_last_tag_takes_the_image_and_what_is_attached(
    registry: ScriptedRegistry, host: Host, tmp_path: Path
) -> None:
    pushed(registry, host, tmp_path)
    before = dict(registry.manifests)
    plan = plan_removal([registry.reference()], host)
    assert registry.manifests == before, "a plan removes nothing"
    assert [one.tags for one in plan.images] == [("1",)]
    assert sorted(one.artifact_type for one in plan.attached) == [BOM, SIGNATURE]
    remove(plan, host)
    left = {key for key in registry.manifests if ":" not in key[1] or registry.can.referrers}
    assert not left, "what an older list of referrers was is all that a registry without the API keeps"


def test_one_tag_of_several_goes_alone(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    reference = pushed(registry, host, tmp_path)
    tag_image(registry.reference(), "stable", host)
    before = dict(registry.manifests)
    plan = removed(host, registry.reference())
    assert [(one.tag, one.kept_by) for one in plan.loose] == [("1", ("stable",))]
    assert (plan.images, plan.attached) == ((), ())
    assert registry.manifests == {key: one for key, one in before.items() if key != ("tiny", "1")}
    assert len(list_referrers(reference, host)) == 1
    assert [one.tags for one in removed(host, registry.reference(tag="stable")).images] == [("stable",)]
    assert not tags(registry)


def test_all_tags_that_are_named_take_the_image(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    pushed(registry, host, tmp_path)
    tag_image(registry.reference(), "stable", host)
    plan = removed(host, registry.reference(), registry.reference(tag="stable"), registry.reference())
    assert [one.tags for one in plan.images] == [("1", "stable")]
    assert not tags(registry)


def test_a_digest_does_not_take_tags_that_nobody_named(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    digest = named(pushed(registry, host, tmp_path))
    tag_image(registry.reference(), "stable", host)
    before = dict(registry.manifests)
    with pytest.raises(StillNeeded, match="1, stable"):
        removed(host, digest)
    with pytest.raises(StillNeeded, match="stable"):
        removed(host, digest, registry.reference())
    assert registry.manifests == before
    assert removed(host, digest, force=True).images[0].tags == ("1", "stable")
    assert not tags(registry)


def test_an_index_goes_with_its_images_unless_another_has_them(
    registry: ScriptedRegistry, host: Host, tmp_path: Path
) -> None:
    amd64 = pushed(registry, host, tmp_path / "both", "1-amd64")
    index = pushed(registry, host, tmp_path / "both", platform=ARM64)
    only_tag, by_digest = registry.reference(tag="1-amd64"), named(amd64)
    with pytest.raises(StillNeeded, match="1, 1-amd64"):
        removed(host, by_digest)
    assert [one.tag for one in removed(host, only_tag).loose] == ["1-amd64"], "the index still needs the image"
    assert ("tiny", str(amd64.digest)) in registry.manifests
    tag_image(by_digest, "amd64", host)
    plan = removed(host, registry.reference())
    assert [str(one.descriptor.platform) for one in plan.images] == ["None", "linux/arm64"]
    assert plan.images[0].descriptor.digest == index.digest
    assert tags(registry)[:1] == ["amd64"]
    assert not registry.missing()


def test_an_artifact_that_goes_is_no_longer_listed(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    image = pushed(registry, host, tmp_path)
    (bom,) = list_referrers(image, host)
    plan = removed(host, replace(named(image), digest=bom.digest))
    assert [one.artifact_type for one in plan.attached] == [SIGNATURE]
    assert list_referrers(image, host) == ()
    assert "1" in tags(registry)


def test_an_index_that_is_attached_goes_with_its_images(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    image = push(tiny_layout(tmp_path / "image"), registry.reference(), host).reference
    parts = layout_graph(tiny_layout(tmp_path / "part", weights=b"part"))
    index = index_of(
        [(parts.top.descriptor, Manifest(parts.top.raw))],
        Descriptor(media_type=IMAGE_MANIFEST, digest=image.digest, size=1),
    )
    push_referrer(image, joined([parts], index), host)
    plan = removed(host, registry.reference())
    assert [one.digest for one in plan.attached] == [parts.top.descriptor.digest, index.descriptor.digest]
    assert not registry.manifests


def test_an_artifact_with_a_tag_of_its_own_stays(host: Host, tmp_path: Path) -> None:
    with of("all") as registry:
        image = pushed(registry, host, tmp_path)
        (bom,) = list_referrers(image, host)
        tag_image(replace(named(image), digest=bom.digest), "bom", host)
        assert removed(host, registry.reference()).attached == ()
        assert tags(registry) == ["bom"]


def test_what_is_not_said_plainly_is_not_removed(host: Host, tmp_path: Path) -> None:
    with of("all") as registry:
        image = pushed(registry, host, tmp_path)
        one = registry.reference()
        with pytest.raises(NoTagNamed):
            removed(host, replace(one, tag=""))
        with pytest.raises(SeveralRepositories):
            removed(host, one, registry.reference("other"))
        with pytest.raises(NotThere, match=f"it is {image.digest}"):
            removed(host, replace(one, digest=artifact(tiny_layout(tmp_path).find(), BOM, b"").top.descriptor.digest))
        with pytest.raises(NotThere):
            removed(host, one, replace(one, tag="not"))
        assert tags(registry) == ["1"]


def test_a_registry_that_removes_nothing_is_left_as_it_is(host: Host, tmp_path: Path) -> None:
    with of("nothing") as registry:
        pushed(registry, host, tmp_path)
        tag_image(registry.reference(), "stable", host)
        before = dict(registry.manifests)
        for force, reference in ((False, registry.reference()), (True, named(pushed(registry, host, tmp_path)))):
            with pytest.raises(DeletionRefused, match="UNSUPPORTED") as caught:
                removed(host, reference, force=force)
            assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in caught.value.advice
        assert {key: registry.manifests[key] for key in before} == before, "the stand-in for the tag gave it back"


def test_a_tag_that_cannot_be_put_back_is_told(host: Host, tmp_path: Path) -> None:
    with of("nothing") as registry:
        pushed(registry, host, tmp_path)
        tag_image(registry.reference(), "stable", host)
        plan = plan_removal([registry.reference()], host)
        registry.next("PUT", "/manifests/1", Status(201))
        registry.next("PUT", "/manifests/1", Status(400, code="TAG_INVALID"))
        with pytest.raises(TagStandsIn, match=str(plan.loose[0].image.descriptor.digest)) as caught:
            remove(plan, host)
        assert "mbuild tag" in caught.value.advice


def test_what_a_registry_takes_with_a_tag_is_put_back(host: Host, tmp_path: Path) -> None:
    with of("whole") as registry:
        image = pushed(registry, host, tmp_path)
        tag_image(registry.reference(), "stable", host)
        removed(host, registry.reference())
        assert tags(registry) == ["stable"]
        assert ("tiny", str(image.digest)) in registry.manifests
        assert isinstance(host.events, RecordedEvents)
        assert [event.message for event in host.events.events if isinstance(event, Warned)] == [
            "the registry took stable away with the tag 1; it is put back"
        ]


def test_a_removal_that_stops_says_what_is_left_and_goes_on(host: Host, tmp_path: Path) -> None:
    with of("all") as registry:
        image = pushed(registry, host, tmp_path)
        registry.next("DELETE", f"/manifests/{image.digest}", Status(409, code="DENIED"))
        registry.next("DELETE", "/manifests/1", Status(405, code="UNSUPPORTED"))
        with pytest.raises(RemovalIncomplete, match=f"still there: 1 {image.digest}"):
            removed(host, registry.reference())
        assert tags(registry) == ["1"]
        removed(host, registry.reference())
        assert not registry.manifests


def test_a_token_is_asked_for_with_the_right_to_delete(host: Host, tmp_path: Path) -> None:
    environ = {**host.environ, "MBUILD_REGISTRY_USERNAME": "anna", "MBUILD_REGISTRY_PASSWORD": "secret"}
    host = replace(host, environ=environ)
    with ScriptedRegistry(auth=BearerAuth("anna", "secret")) as registry:
        push(tiny_layout(tmp_path), registry.reference(), host)
        registry.next("DELETE", "/manifests/", Status(403, code="DENIED"), times=2)
        with pytest.raises(DeletionRefused, match="DENIED"):
            removed(host, registry.reference())
        assert tags(registry) == ["1"]
        removed(host, registry.reference())
        assert any("pull%2Cpush%2Cdelete" in one.path for one in registry.asked("GET", "/token"))
        assert not registry.manifests


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdin", "words", "status", "left"),
    [
        (Terminal("y\n"), [], 0, []),
        (Terminal("\n"), [], 2, ["1"]),
        (io.StringIO("y\n"), [], 2, ["1"]),
        (io.StringIO(), ["--dry-run"], 0, ["1"]),
        (io.StringIO(), ["--yes"], 0, []),
    ],
    ids=["yes", "nothing-said", "no-terminal", "dry-run", "told-before"],
)
def test_whoever_removes_is_asked(
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stdin: io.StringIO,
    words: list[str],
    status: int,
    left: list[str],
) -> None:
    monkeypatch.setenv("MBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.stdin", stdin)
    with of("all") as registry:
        digest = push(tiny_layout(tmp_path), registry.reference(), host).reference.digest
        with pytest.raises(SystemExit) as ended:
            main(["rm", str(registry.reference()), "--format", "json", *words])
        assert (ended.value.code, tags(registry)) == (status, left)
    said = capsys.readouterr()
    if status:
        assert (said.out, "nothing was removed" in said.err) == ("", True)
    else:
        assert [one["digest"] for one in json.loads(said.out)["images"]] == [str(digest)]
    assert (f"@{digest} with its tags 1" in said.err) == stdin.isatty()
