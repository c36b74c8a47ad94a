"""Pulls and copies from a registry that cuts, lies and knows no ranges: what is fetched again, and what is kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import IntegrityError, MbuildError, RegistryError
from builder.events import Warned
from builder.host import Host
from builder.host.fs import DiskFull, NotEnoughRoom
from builder.host.http import Http
from builder.oci.descriptor import IMAGE_INDEX, Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.packages.copy import SourceNamesNoRegistry, copy_image
from builder.pipeline.packages.existing import push_layout
from builder.pipeline.packages.pull import DirectoryInUse, NoModelLayer, pull_image, pull_model
from builder.pipeline.packages.report import report_in, write_report
from builder.registry.push import push
from builder.registry.referrers import list_referrers, push_referrer
from tests.support.artifacts import BOM, SIGNATURE, artifact
from tests.support.disks import leave_free
from tests.support.hosts import HastyClock, ImpatientClock, RecordedEvents
from tests.support.registry_faults import Corrupt, Cut, Drip, Fault, Hangup, Misreport, Status, Surplus, Swallow
from tests.support.scripted_registry import Abilities, ScriptedRegistry
from tests.support.tiny_image import AMD64, tiny_layout

PIECE = 64 << 10

WEIGHTS = random.Random(7).randbytes(3_000_000)
REPORT = b'{"schema": 1}'
ARM64 = Platform(os="linux", architecture="arm64")


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as running:
        yield running


@pytest.fixture
def host(make_host: Callable[..., Host], tmp_path: Path) -> Host:
    return replace(make_host(tmp_path / "cache", {"HOME": str(tmp_path)}), clock=ImpatientClock())


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return tiny_layout(tmp_path_factory.mktemp("image"), weights=WEIGHTS)


@pytest.fixture
def weights(layout: Layout) -> Descriptor:
    return layout.manifest(layout.find()).layers[1]


@pytest.fixture
def pushed(registry: ScriptedRegistry, layout: Layout, make_host: Callable[..., Host]) -> ScriptedRegistry:
    push(layout, registry.reference(), make_host(environ={}))
    registry.requests.clear()
    return registry


def stored_bytes(layout: Layout) -> dict[Digest, bytes]:
    manifest = layout.manifest(layout.find())
    blobs = [*manifest.layers, manifest.config]
    return {blob.digest: b"".join(layout.read_blob(blob)) for blob in blobs} | {manifest.digest: manifest.raw}


def ranges(registry: ScriptedRegistry, blob: Descriptor) -> list[str]:
    return [one.headers.get("Range", "") for one in registry.asked("GET", str(blob.digest))]


# going on


def test_a_cut_is_gone_on_from(pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor) -> None:
    pushed.next("GET", str(weights.digest), Cut(30 * PIECE))
    pushed.next("GET", str(weights.digest), Cut(8 * PIECE + 100))
    pulled = pull_image(pushed.reference(), AMD64, None, host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)
    assert ranges(pushed, weights) == ["", f"bytes={30 * PIECE}-", f"bytes={38 * PIECE + 100}-"]


def test_the_next_run_goes_on_too(
    pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, tmp_path: Path
) -> None:
    pushed.next("GET", str(weights.digest), Cut(9 * PIECE))
    pushed.next("GET", str(weights.digest), Status(503), times=100)
    with pytest.raises(RegistryError):
        pull_image(pushed.reference(), AMD64, tmp_path / "out", host)
    pushed.forgive()
    assert not (tmp_path / "out").exists(), "nothing half-written counts as whole"
    pushed.requests.clear()
    pulled = pull_image(pushed.reference(), AMD64, tmp_path / "out", host)
    assert ranges(pushed, weights) == [f"bytes={9 * PIECE}-"]
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)
    manifest = layout.manifest(layout.find())
    assert pulled.reused + pulled.downloaded == sum(blob.size for blob in (*manifest.layers, manifest.config))
    assert not list((tmp_path / "cache" / "partial").iterdir())


@pytest.mark.parametrize("left", [b"other bytes that somebody left", WEIGHTS + b"and more" * 1000], ids=len)
def test_a_part_that_is_no_part_of_it_costs_a_second_fetch(
    pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, tmp_path: Path, left: bytes
) -> None:
    part = tmp_path / "cache" / "partial" / weights.digest.hex
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    pulled = pull_image(pushed.reference(), AMD64, None, host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


@pytest.mark.parametrize("fault", [Status(416), Status(500), Hangup()], ids=str)
def test_who_knows_no_ranges_sends_it_again(
    pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, fault: Fault
) -> None:
    pushed.can = Abilities(ranges=False)
    pushed.next("GET", str(weights.digest), Cut(2_000_000))
    pushed.next("GET", str(weights.digest), fault)
    pulled = pull_image(pushed.reference(), AMD64, None, host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_another_range_than_was_asked_for_is_not_believed(
    pushed: ScriptedRegistry, host: Host, weights: Descriptor, tmp_path: Path
) -> None:
    pushed.next("GET", str(weights.digest), Cut(2_000_000))
    pushed.next("GET", str(weights.digest), Misreport(5))
    with pytest.raises(RegistryError, match="asked for what follows byte 2000000"):
        pull_image(pushed.reference(), AMD64, tmp_path / "out", host)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", [Corrupt(), Surplus(7)], ids=str)
def test_wrong_bytes_are_not_kept_and_not_gone_on_from(
    pushed: ScriptedRegistry, host: Host, weights: Descriptor, tmp_path: Path, fault: Fault
) -> None:
    pushed.next("GET", str(weights.digest), fault)
    with pytest.raises(IntegrityError):
        pull_image(pushed.reference(), AMD64, tmp_path / "out", host)
    assert not (tmp_path / "cache" / "partial" / weights.digest.hex).exists()
    assert pull_image(pushed.reference(), AMD64, tmp_path / "out", host).downloaded >= weights.size


def test_a_hundred_pulls_under_faults(
    make_host: Callable[..., Host], registry: ScriptedRegistry, tmp_path: Path
) -> None:
    """Each ends well or with an error of ours, never with a wrong byte; run again, it fetches only what is missing."""
    layout = tiny_layout(tmp_path, weights=WEIGHTS[:300_000])
    push(layout, registry.reference(), make_host(environ={}))
    expected, size = stored_bytes(layout), 300_000
    for seed in range(100):
        chance = random.Random(seed)
        environ = {"MBUILD_PLAIN_HTTP": registry.name}
        host = replace(make_host(tmp_path / f"cache-{seed}", environ), clock=ImpatientClock())
        registry.can = Abilities(ranges=chance.random() < 0.7)
        for _ in range(chance.randrange(1, 6)):
            faults: list[Fault] = [Cut(chance.randrange(size)), Hangup(), Status(chance.choice([416, 429, 500, 503]))]
            faults += [Corrupt(), Surplus(1), Misreport(chance.randrange(size))]
            path = chance.choice(["/blobs/", "/blobs/", "/manifests/"])
            registry.next("GET", path, chance.choice(faults), times=chance.choice([1, 1, 2, 4]))
        try:
            pulled = pull_image(registry.reference(), AMD64, tmp_path / f"out-{seed}", host)
            assert stored_bytes(Layout(pulled.path)) == expected, f"seed {seed}"
        except (RegistryError, IntegrityError):
            assert not (tmp_path / f"out-{seed}").exists(), f"seed {seed}"
        registry.forgive()
        whole = sum(path.stat().st_size for path in (tmp_path / f"cache-{seed}").glob("blobs/sha256/[0-9a-f]*"))
        again = pull_image(registry.reference(), AMD64, tmp_path / f"out-{seed}", host)
        assert stored_bytes(Layout(again.path)) == expected, f"seed {seed}"
        assert again.reused == whole, f"seed {seed}"


# the model alone


def model_layout(directory: Path, platform: Platform = AMD64) -> Layout:
    return tiny_layout(directory, weights=WEIGHTS[:1000], platform=platform, roles=("base", "model"))


def test_the_model_alone(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    layout = model_layout(tmp_path / "image")
    push(layout, registry.reference(), host)
    registry.requests.clear()
    pulled = pull_model(registry.reference(), AMD64, tmp_path / "files", host)
    assert [path.name for path in sorted((tmp_path / "files").rglob("*"))] == ["model", "weights.bin"]
    assert (tmp_path / "files/model/weights.bin").read_bytes() == WEIGHTS[:1000]
    base, model = layout.manifest(layout.find()).layers
    assert pulled.downloaded == model.size
    assert not registry.asked("GET", str(base.digest)), "nothing else is fetched"


@pytest.mark.parametrize("fault", [Corrupt(), Status(404), Cut(10)], ids=str)
def test_half_a_model_is_none(registry: ScriptedRegistry, host: Host, tmp_path: Path, fault: Fault) -> None:
    layout = model_layout(tmp_path / "image")
    push(layout, registry.reference(), host)
    registry.next("GET", str(layout.manifest(layout.find()).layers[1].digest), fault, times=100)
    with pytest.raises(MbuildError):
        pull_model(registry.reference(), AMD64, tmp_path / "files", host)
    assert not (tmp_path / "files").exists()
    assert not list(tmp_path.glob(".mbuild-pull-*"))


def test_a_directory_with_something_in_it_is_left_alone(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    push(model_layout(tmp_path / "image"), registry.reference(), host)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine").write_text("mine")
    with pytest.raises(DirectoryInUse, match="not empty"):
        pull_model(registry.reference(), AMD64, tmp_path / "files", host)
    assert (tmp_path / "files" / "mine").read_text() == "mine"


def test_an_image_of_others_has_no_model(pushed: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    with pytest.raises(NoModelLayer):
        pull_model(pushed.reference(), AMD64, tmp_path / "files", host)


def test_who_sends_drop_by_drop_is_left_and_asked_again(
    pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, tmp_path: Path
) -> None:
    """What came is kept: the second try asks for the rest alone."""
    hasty = replace(host, http=Http(host.environ, HastyClock(15)))
    pushed.next("GET", str(weights.digest), Drip(5_000, 0.05))
    pull_image(pushed.reference(), None, tmp_path / "out", hasty)
    first, second = pushed.asked("GET", str(weights.digest))
    assert "Range" not in first.headers
    assert int(second.headers["Range"].removeprefix("bytes=").removesuffix("-")) % 5_000 == 0
    assert Layout(tmp_path / "out").find().digest == layout.find().digest


# copies


def test_a_copy_streams_with_the_same_digest(
    pushed: ScriptedRegistry, host: Host, layout: Layout, weights: Descriptor, tmp_path: Path
) -> None:
    with ScriptedRegistry() as other:
        pushed.next("GET", str(weights.digest), Cut(2_000_000))
        other.next("PUT", "/blobs/uploads/", Swallow(1_000_000))
        target = Reference(registry=other.name, repository="mirror")
        result = copy_image(str(pushed.reference()), target, host)
        assert (result.reference.digest, result.tag) == (layout.find().digest, "1"), "and the source's tag"
        assert not other.missing()
        assert other.manifests["mirror", "1"] == pushed.manifests["tiny", "1"]
    assert not list((tmp_path / "cache").rglob("sha256/*")), "nothing lies on the disk"


@pytest.mark.parametrize(("here", "there"), [(True, True), (True, False), (False, True)])
def test_what_is_attached_comes_along(host: Host, tmp_path: Path, here: bool, there: bool) -> None:
    """With and without the referrers API on either side; and a signature of the bill of materials."""
    with (
        ScriptedRegistry(abilities=Abilities(referrers=here)) as registry,
        ScriptedRegistry(abilities=Abilities(referrers=there)) as other,
    ):
        layout = model_layout(tmp_path / "image")
        image = push(layout, registry.reference(), host).reference
        bom = artifact(layout.manifest(layout.find()).descriptor, BOM, b'{"parts": []}')
        signature = artifact(bom.top.descriptor, SIGNATURE, b"signed")
        for subject, one in ((image, bom), (push_referrer(image, bom, host).reference, signature)):
            push_referrer(subject, one, host)
        copied = copy_image(str(registry.reference()), Reference.parse(f"{other.name}/mirror:1"), host)
        assert not other.missing()
        (listed,) = list_referrers(copied.reference, host)
        assert listed.digest == bom.top.descriptor.digest
        (signed,) = list_referrers(replace(copied.reference, digest=listed.digest), host)
        assert signed.digest == signature.top.descriptor.digest
        whole, empty = bom.size + signature.size, 2  # both have the empty config
        assert copied.to_json()["by_role"]["attached"] == {"uploaded": whole - empty, "reused": empty}
        again = copy_image(str(registry.reference()), Reference.parse(f"{other.name}/mirror:1"), host)
        assert again.to_json()["by_role"]["attached"] == {"reused": whole}


@pytest.mark.parametrize(("path", "fault"), [("/referrers/", Status(400)), (f"/blobs/{Digest.of(REPORT)}", Corrupt())])
def test_an_image_is_whole_without_its_report(
    registry: ScriptedRegistry, host: Host, tmp_path: Path, path: str, fault: Fault
) -> None:
    source = tiny_layout(tmp_path / "image")
    digest = source.find().digest
    write_report(source.path, digest, REPORT)
    push_layout(source.path, registry.reference(), host)
    pull_image(registry.reference(), AMD64, tmp_path / "pulled", host)
    assert report_in(tmp_path / "pulled", digest) == REPORT
    registry.next("GET", path, fault, times=9)
    pull_image(registry.reference(), AMD64, tmp_path / "again", host)
    assert Layout(tmp_path / "again").find().digest == digest
    assert report_in(tmp_path / "again", digest) is None
    assert isinstance(host.events, RecordedEvents)
    assert any(isinstance(event, Warned) and "report" in event.message for event in host.events.events)


def test_within_a_registry_nothing_is_moved(pushed: ScriptedRegistry, host: Host, layout: Layout) -> None:
    result = copy_image(str(pushed.reference()), pushed.reference("elsewhere", "2"), host)
    manifest = layout.manifest(layout.find())
    assert result.mounted == sum(blob.size for blob in (*manifest.layers, manifest.config))
    assert result.uploaded == len(manifest.raw)
    assert not pushed.missing()


def test_an_index_is_copied_whole_and_pulled_whole(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    for platform in (AMD64, ARM64):
        layout = model_layout(tmp_path / "image", platform)
    first = push(layout, registry.reference(), host)
    assert registry.manifests["tiny", "1"][0] == IMAGE_INDEX
    with ScriptedRegistry() as other:
        copied = copy_image(str(registry.reference()), Reference.parse(f"{other.name}/tiny:2"), host)
        assert copied.reference.digest == first.reference.digest
        assert not other.missing()
        whole = pull_image(copied.reference, None, tmp_path / "whole", host)
        assert {image.platform for image in Layout(whole.path).images()} == {AMD64, ARM64}
        again = copy_image(str(tmp_path / "whole"), Reference.parse(f"{other.name}/again:1"), host)
        assert again.reference.digest == first.reference.digest, "out of a layout, too"
        one = pull_image(copied.reference, ARM64, tmp_path / "one", host)
        assert [image.platform for image in Layout(one.path).images()] == [ARM64]


def test_a_pull_into_a_layout_replaces_what_it_had_of_that_name(
    registry: ScriptedRegistry, host: Host, tmp_path: Path
) -> None:
    for platform in (AMD64, ARM64):
        layout = model_layout(tmp_path / "image", platform)
    push(layout, registry.reference(), host)
    for _ in range(2):
        pull_image(registry.reference(), None, tmp_path / "whole", host)
    assert len(Layout(tmp_path / "whole").index.manifests) == 1


def test_a_name_without_a_registry_is_no_source(host: Host) -> None:
    with pytest.raises(SourceNamesNoRegistry, match="digits"):
        copy_image("digits", Reference.parse("localhost:5000/x:1"), host)


def test_a_pull_that_has_no_room_is_not_begun(
    pushed: ScriptedRegistry, host: Host, weights: Descriptor, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier try left needs no room again."""
    leave_free(weights.size - PIECE, monkeypatch)
    with pytest.raises(NotEnoughRoom):
        pull_image(pushed.reference(), AMD64, None, host)
    assert not ranges(pushed, weights)
    part = host.store.root / "partial" / weights.digest.hex
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(WEIGHTS[: 2 * PIECE])
    pulled = pull_image(pushed.reference(), AMD64, None, host)
    assert stored_bytes(Layout(pulled.path)) == stored_bytes(layout)


def test_a_disk_that_fills_up_keeps_no_part(
    pushed: ScriptedRegistry, host: Host, weights: Descriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(start: int) -> Iterator[bytes]:
        yield b"some"
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFull):
        host.store.fetch_blob(weights, full)
    assert not (tmp_path / "cache" / "partial" / weights.digest.hex).exists()
