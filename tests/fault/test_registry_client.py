"""The client against a registry that throttles, cuts, lies, forgets and expires: what it says, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import IntegrityError, MbuildError
from builder.host import Host
from builder.host.http import NetworkError
from builder.host.store import WrongDigest
from builder.oci.layout import Layout
from builder.oci.verify import WrongBytes
from builder.pipeline.packages.pull import pull_image
from builder.registry.errors import AccessDenied, RegistryBusy, RegistryRefused, UnexpectedAnswer, WrongCredentials
from builder.registry.pull import pull_base
from builder.registry.push import PushResult, push
from tests.support.golden import Golden
from tests.support.hosts import ImpatientClock
from tests.support.registry_answers import BasicAuth, BearerAuth
from tests.support.registry_faults import Corrupt, Cut, Expired, Fault, Forget, Hangup, Status, Surplus
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.tiny_image import AMD64, tiny_layout

PASSWORD = "hunter2 and more"
SIGNED_IN = {"MBUILD_REGISTRY_USERNAME": "ada", "MBUILD_REGISTRY_PASSWORD": PASSWORD}


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


def push_tiny(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> PushResult:
    return push(tiny_layout(tmp_path), registry.reference(), host)


def assert_whole(registry: ScriptedRegistry, result: PushResult) -> None:
    """The tag points to what was pushed, and the registry had checked that its blobs are there."""
    _, raw = registry.manifests["tiny", "1"]
    assert registry.manifests["tiny", str(result.reference.digest)][1] == raw


PASSING: list[tuple[str, str, Fault]] = [
    ("GET", "/v2/", Status(503)),
    ("HEAD", "/blobs/", Status(500)),
    ("POST", "/blobs/uploads/", Status(429, {"Retry-After": "7"}, "TOOMANYREQUESTS")),
    ("POST", "/blobs/uploads/", Hangup()),
    ("PUT", "/blobs/uploads/", Status(502)),
    ("PUT", "/blobs/uploads/", Hangup()),
    ("PUT", "/manifests/", Status(504)),
]


@pytest.mark.parametrize(("verb", "path", "fault"), PASSING, ids=str)
def test_a_push_survives_what_passes(
    registry: ScriptedRegistry, host: Host, tmp_path: Path, verb: str, path: str, fault: Fault
) -> None:
    registry.next(verb, path, fault, times=2)
    assert_whole(registry, push_tiny(registry, host, tmp_path))


def test_it_waits_as_long_as_the_registry_asks(
    registry: ScriptedRegistry, host: Host, clock: ImpatientClock, tmp_path: Path
) -> None:
    registry.next("PUT", "/manifests/", Status(429, {"Retry-After": "7"}))
    push_tiny(registry, host, tmp_path)
    assert clock.waits == [7.0]


def test_it_gives_up_after_a_few_tries(
    registry: ScriptedRegistry, host: Host, clock: ImpatientClock, tmp_path: Path
) -> None:
    registry.next("PUT", "/manifests/", Status(503, code="UNAVAILABLE"), times=100)
    with pytest.raises(RegistryBusy, match="UNAVAILABLE"):
        push_tiny(registry, host, tmp_path)
    assert clock.waits == [0.5, 1.0, 2.0]
    assert ("tiny", "1") not in registry.manifests


def test_a_refusal_is_not_tried_again(
    registry: ScriptedRegistry, host: Host, clock: ImpatientClock, tmp_path: Path
) -> None:
    registry.next("PUT", "/manifests/", Status(400, code="MANIFEST_INVALID"), times=100)
    with pytest.raises(RegistryRefused, match="MANIFEST_INVALID"):
        push_tiny(registry, host, tmp_path)
    assert clock.waits == []
    assert len(registry.asked("PUT", "/manifests/")) == 1


def test_a_blob_that_the_registry_forgot_is_never_tagged(
    registry: ScriptedRegistry, host: Host, tmp_path: Path
) -> None:
    registry.next("PUT", "/blobs/uploads/", Forget())
    assert_whole(registry, push_tiny(registry, host, tmp_path))
    registry.manifests.clear()
    registry.blobs.clear()
    registry.next("PUT", "/blobs/uploads/", Forget(), times=100)
    with pytest.raises(RegistryRefused, match="MANIFEST_BLOB_UNKNOWN"):
        push_tiny(registry, host, tmp_path)
    assert not registry.manifests


def test_a_push_goes_on_where_it_was_stopped(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    registry.next("PUT", "/manifests/", Status(400))
    with pytest.raises(RegistryRefused):
        push_tiny(registry, host, tmp_path)
    result = push_tiny(registry, host, tmp_path)
    assert result.uploaded == len(registry.manifests["tiny", "1"][1])
    assert_whole(registry, result)


def test_a_truncated_blob_in_the_registry_is_uploaded_again(
    registry: ScriptedRegistry, host: Host, tmp_path: Path
) -> None:
    layout = tiny_layout(tmp_path)
    layer = layout.manifest(layout.find()).layers[1]
    registry.blobs["tiny", str(layer.digest)] = b"half"
    push(layout, registry.reference(), host)
    assert len(registry.blobs["tiny", str(layer.digest)]) == layer.size


def test_a_damaged_layout_is_not_pushed(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    layer = layout.manifest(layout.find()).layers[0]
    layout.blob_path(layer.digest).unlink()
    layout.blob_path(layer.digest).write_bytes(b"x" * layer.size)
    with pytest.raises(WrongBytes):
        push(layout, registry.reference(), host)
    assert not registry.manifests


def test_nothing_is_uploaded_twice_to_be_mounted(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    base = registry.reference("base")
    push(tiny_layout(tmp_path / "base"), base, host)
    result = push(tiny_layout(tmp_path / "ours", weights=b"w", base_name=str(base)), registry.reference("ours"), host)
    assert result.mounted > 0
    assert not registry.uploads, "an upload that was opened instead of a mount is given back"


CUT: list[Fault] = [Cut(100), Hangup(), Status(500)]


@pytest.mark.parametrize("fault", CUT, ids=str)
def test_a_pull_survives_what_passes(registry: ScriptedRegistry, host: Host, tmp_path: Path, fault: Fault) -> None:
    pushed = push_tiny(registry, host, tmp_path)
    registry.next("GET", "/blobs/", fault, times=2)
    layout = Layout(pull_image(pushed.reference, AMD64, tmp_path / "pulled", host).path)
    assert layout.find().digest == pushed.reference.digest


LIES: list[tuple[str, Fault, type[MbuildError]]] = [
    ("/blobs/", Corrupt(), IntegrityError),
    ("/blobs/", Surplus(1), WrongBytes),
    ("/manifests/", Corrupt(), WrongDigest),
    ("/blobs/", Cut(10), NetworkError),  # few enough that going on from there ends before the blob does
]


@pytest.mark.parametrize(("path", "fault", "kind"), LIES, ids=str)
def test_a_lie_is_found_out_and_nothing_of_it_is_kept(
    registry: ScriptedRegistry, host: Host, tmp_path: Path, path: str, fault: Fault, kind: type[MbuildError]
) -> None:
    pushed = push_tiny(registry, host, tmp_path)
    registry.next("GET", path, fault, times=100)
    with pytest.raises(kind):
        pull_base(pushed.reference, AMD64, host)
    assert not list((tmp_path / "cache").rglob("sha256/*"))


def test_a_login_page_is_no_registry(registry: ScriptedRegistry, host: Host, tmp_path: Path) -> None:
    registry.next("GET", "/manifests/", Status(200, {"Content-Type": "text/html"}))
    with pytest.raises(UnexpectedAnswer, match="text/html"):
        pull_base(registry.reference(), AMD64, host)


@pytest.mark.parametrize(("verb", "path"), [("POST", "/blobs/"), ("PUT", "/blobs/"), ("PUT", "/manifests/")])
def test_a_token_that_expires_is_renewed(host: Host, tmp_path: Path, verb: str, path: str) -> None:
    with ScriptedRegistry(BearerAuth("ada", PASSWORD)) as registry:
        registry.next(verb, path, Expired())
        assert_whole(registry, push_tiny(registry, host, tmp_path))
        assert len(registry.tokens) == 2
        assert all("scope=repository%3Atiny%3Apull%2Cpush" in one.path for one in registry.asked("GET", "/token"))


@pytest.mark.parametrize("auth", [BasicAuth("ada", "another"), BearerAuth("ada", "another")], ids=str)
def test_a_wrong_password_is_named_and_never_shown(
    host: Host, clock: ImpatientClock, tmp_path: Path, auth: BasicAuth | BearerAuth
) -> None:
    with ScriptedRegistry(auth) as registry:
        with pytest.raises(WrongCredentials) as caught:
            push_tiny(registry, host, tmp_path)
        said = f"{caught.value} {caught.value.advice} {caught.value.facts}"
        assert registry.name in said and "ada" in said
        assert PASSWORD not in said
        assert clock.waits == []


def test_a_repository_that_is_not_ours(registry: ScriptedRegistry, host: Host, tmp_path: Path, golden: Golden) -> None:
    registry.next("POST", "/blobs/uploads/", Status(403, code="DENIED"), times=100)
    with pytest.raises(AccessDenied) as caught:
        push_tiny(registry, host, tmp_path)
    golden("errors/access-denied.txt", f"{caught.value}\n{caught.value.advice}\n".replace(registry.name, "<REGISTRY>"))


def test_a_redirect_does_not_carry_the_password(host: Host, tmp_path: Path) -> None:
    with ScriptedRegistry(BasicAuth("ada", PASSWORD)) as registry, ScriptedRegistry() as storage:
        pushed = push_tiny(registry, host, tmp_path)
        storage.blobs = dict(registry.blobs)
        for digest in [digest for _, digest in registry.blobs]:
            target = f"http://{storage.name}/v2/tiny/blobs/{digest}"
            registry.next("GET", f"/blobs/{digest}", Status(307, {"Location": target}))
        pulling = replace(host, environ={**host.environ, "MBUILD_REGISTRY": registry.name})
        pull_base(pushed.reference, AMD64, pulling)
        assert len(storage.asked("GET")) == 3
        assert all("Authorization" not in one.headers for one in storage.requests)


def test_an_upload_to_another_host_does_not_carry_the_password(host: Host, tmp_path: Path) -> None:
    with ScriptedRegistry(BasicAuth("ada", PASSWORD)) as registry, ScriptedRegistry() as storage:
        location = f"http://{storage.name}/v2/tiny/blobs/uploads/1"
        registry.next("POST", "/blobs/uploads/", Status(202, {"Location": location}), times=100)
        storage.uploads["1"] = bytearray()
        with pytest.raises(MbuildError):  # what the other host took, the registry does not have
            push_tiny(registry, host, tmp_path)
        assert storage.asked("PUT")
        assert all("Authorization" not in one.headers for one in storage.requests)


def test_a_pull_does_not_get_the_password_of_the_push(host: Host, tmp_path: Path) -> None:
    with ScriptedRegistry(BasicAuth("ada", PASSWORD)) as registry:
        with pytest.raises(MbuildError, match="wants a user and a password"):
            pull_base(registry.reference(), AMD64, host)
        assert all("Authorization" not in one.headers for one in registry.requests)
