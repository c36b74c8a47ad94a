"""A package index that asks for a password, lies, loses files or is not there; uv itself does the asking."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import IntegrityError
from builder.events import Progress
from builder.host import Host
from builder.host.fs import NotEnoughRoom
from builder.host.store import WrongDigest
from builder.host.uv import IndexRefused, IndexUnreachable, Unsatisfiable
from builder.oci.platform import Platform
from builder.plan.wheel import LockedWheel
from builder.targets.wheels import NoWheelForPlatform, WheelGone, fetch_wheels, resolve_wheels
from tests.support.disks import leave_free
from tests.support.hosts import ImpatientClock, RecordedEvents
from tests.support.wheels import Index, make_wheel, running

AMD64 = Platform.parse("linux/amd64")
NAME = "thing-1.0-py3-none-any.whl"
PASSWORD = "opensesame"

MakeHost = Callable[..., Host]


@pytest.fixture
def index() -> Iterator[Index]:
    with running(Index(wheels={NAME: make_wheel("thing")})) as found:
        yield found


def environ(**settings: str) -> dict[str, str]:
    """A user with these settings and no others."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull, **settings}


def resolve(host: Host, requirement: str = "thing==1.0") -> tuple[LockedWheel, ...]:
    return resolve_wheels((requirement,), "3.13", AMD64, (2, 41), host)


def test_pips_index_is_asked_and_the_file_fetched(make_host: MakeHost, index: Index) -> None:
    host = make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple"))
    wheels = resolve(host)
    assert [(wheel.name, wheel.version, wheel.filename) for wheel in wheels] == [("thing", "1.0", NAME)]
    fetch_wheels(wheels, "3.13", host)
    assert b"".join(host.store.read_blob(wheels[0].digest)) == index.wheels[NAME]


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_credentials_reach_the_index_and_nothing_else(make_host: MakeHost, index: Index, variable: str) -> None:
    index.login = f"me:{PASSWORD}"
    settings = {variable: index.url_with(index.login)}
    if variable == "PIP_EXTRA_INDEX_URL":
        settings["PIP_INDEX_URL"] = settings[variable]
    host = make_host(environ=environ(**settings))
    wheels = resolve(host)
    fetch_wheels(wheels, "3.13", host)
    assert PASSWORD not in str([wheel.to_json() for wheel in wheels])
    ours = [path for path in host.store.root.rglob("*") if path.is_file() and "uv" not in path.parts]
    assert ours
    assert not [path for path in ours if PASSWORD.encode() in path.read_bytes()]


def test_a_netrc_serves_too(make_host: MakeHost, index: Index, tmp_path: Path) -> None:
    index.login = f"me:{PASSWORD}"
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    host = make_host(environ=environ(UV_DEFAULT_INDEX=f"{index.url}/simple", NETRC=str(tmp_path / "netrc")))
    assert fetch_wheels(resolve(host), "3.13", host)


def test_pips_proxy_is_used_for_the_index_and_for_the_file(
    make_host: MakeHost, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    host = make_host(environ=environ(PIP_INDEX_URL="http://index.invalid/simple", PIP_PROXY=index.url))
    fetch_wheels(resolve(host), "3.13", host)
    assert {path for path, _ in index.asked} >= {
        "http://index.invalid/simple/thing/",
        f"http://index.invalid/files/{NAME}",
    }


def test_find_links_need_no_index(make_host: MakeHost, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / NAME).write_bytes(make_wheel("thing"))
    host = make_host(environ=environ(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path / "links")))
    wheels = resolve(host)
    fetch_wheels(wheels, "3.13", host)
    assert host.store.has_blob(wheels[0].digest)


def test_a_wrong_password_is_told_without_it(make_host: MakeHost, index: Index) -> None:
    index.login = "me:another"
    host = make_host(environ=environ(PIP_INDEX_URL=index.url_with(f"me:{PASSWORD}")))
    with pytest.raises(IndexRefused) as caught:
        resolve(host)
    assert PASSWORD not in str(caught.value) + caught.value.advice + str(caught.value.facts)


def test_a_lock_finds_its_file_when_the_index_has_newer_and_better_ones(make_host: MakeHost, index: Index) -> None:
    settings = environ(PIP_INDEX_URL=f"{index.url}/simple")
    wheels = resolve(make_host(environ=settings))
    index.wheels["thing-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"] = make_wheel("thing", files={"new.py": b""})
    index.wheels["thing-2.0-py3-none-any.whl"] = make_wheel("thing", "2.0")
    elsewhere = make_host(environ=settings)
    assert resolve(elsewhere)[0].filename == "thing-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"
    fetch_wheels(wheels, "3.13", elsewhere)
    assert elsewhere.store.has_blob(wheels[0].digest)


def test_a_file_that_was_replaced_is_gone(make_host: MakeHost, index: Index) -> None:
    settings = environ(PIP_INDEX_URL=f"{index.url}/simple")
    wheels = resolve(make_host(environ=settings))
    index.wheels[NAME] = make_wheel("thing", files={"evil.py": b""})
    with pytest.raises(WheelGone):
        fetch_wheels(wheels, "3.13", make_host(environ=settings))


def test_other_bytes_than_the_index_says_are_refused_and_not_kept(make_host: MakeHost, index: Index) -> None:
    host = make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple"))
    content = index.wheels[NAME]
    index.served_instead[NAME] = content[:-1] + b"!"
    with pytest.raises(IntegrityError) as caught:
        fetch_wheels(resolve(host), "3.13", host)
    assert isinstance(caught.value, WrongDigest)
    assert not list((host.store.root / "blobs" / "sha256").iterdir())


@pytest.fixture
def large(index: Index) -> bytes:
    """A wheel that takes many a read."""
    index.wheels[NAME] = make_wheel("thing", files={"thing/lib.so": random.Random(3).randbytes(3_000_000)})
    return index.wheels[NAME]


def patient(make_host: MakeHost, index: Index) -> Host:
    """Waiting takes no time."""
    return replace(make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple")), clock=ImpatientClock())


def locked(make_host: MakeHost, index: Index) -> tuple[LockedWheel, ...]:
    """Resolved on another machine: to know its size, an index that does not tell it has the whole file fetched."""
    wheels = resolve(make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple")))
    index.starts.clear()
    return wheels


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_cut_is_gone_on_from(make_host: MakeHost, index: Index, large: bytes, knows_ranges: bool) -> None:
    host = patient(make_host, index)
    index.knows_ranges = knows_ranges
    wheels = locked(make_host, index)
    index.cuts = [1_000_000, 500_000 if knows_ranges else 1_500_000]
    fetch_wheels(wheels, "3.13", host)
    assert index.starts == [0, 1_000_000, 1_500_000]
    assert b"".join(host.store.read_blob(wheels[0].digest)) == large
    assert isinstance(host.events, RecordedEvents)
    done = [event.done for event in host.events.events if isinstance(event, Progress)]
    assert done == sorted(done), "it is never told backwards"
    assert done[-1] == len(large)


def test_the_next_run_goes_on_too(make_host: MakeHost, index: Index, large: bytes) -> None:
    host = patient(make_host, index)
    wheels = locked(make_host, index)
    index.cuts = [2_000_000, 1, 1, 1]
    with pytest.raises(IndexUnreachable):
        fetch_wheels(wheels, "3.13", host)
    assert not host.store.has_blob(wheels[0].digest)
    kept = next((host.store.root / "partial").iterdir()).stat().st_size
    index.cuts.clear()
    index.starts.clear()
    fetch_wheels(wheels, "3.13", host)
    assert index.starts == [kept]
    assert kept >= 2_000_000
    assert b"".join(host.store.read_blob(wheels[0].digest)) == large
    assert not list((host.store.root / "partial").iterdir())


@pytest.mark.parametrize("left", [b"something else", bytes(4_000_000)], ids=["shorter", "longer"])
def test_a_part_that_is_no_part_of_it_is_not_believed(
    make_host: MakeHost, index: Index, large: bytes, left: bytes
) -> None:
    host = patient(make_host, index)
    wheels = locked(make_host, index)
    part = host.store.root / "partial" / wheels[0].digest.hex
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(left)
    fetch_wheels(wheels, "3.13", host)
    assert b"".join(host.store.read_blob(wheels[0].digest)) == large


@pytest.mark.parametrize("status", [429, 503])
def test_a_passing_refusal_passes(make_host: MakeHost, index: Index, large: bytes, status: int) -> None:
    host = patient(make_host, index)
    wheels = locked(make_host, index)
    index.refusals = [status, status]
    fetch_wheels(wheels, "3.13", host)
    assert host.store.has_blob(wheels[0].digest)


def test_a_wheel_that_has_no_room_is_not_fetched(
    make_host: MakeHost, index: Index, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = locked(make_host, index)
    leave_free(len(large) - 1, monkeypatch)
    with pytest.raises(NotEnoughRoom, match="wheels that are still to be fetched"):
        fetch_wheels(wheels, "3.13", patient(make_host, index))
    assert not index.starts


def test_nothing_listens(make_host: MakeHost, index: Index) -> None:
    host = make_host(environ=environ(PIP_INDEX_URL="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0"))
    with pytest.raises(IndexUnreachable, match="cannot be reached"):
        resolve(host)


def test_an_unknown_version_is_told_in_uvs_words(make_host: MakeHost, index: Index) -> None:
    host = make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple"))
    with pytest.raises(Unsatisfiable, match=r"there is no version of thing==7"):
        resolve(host, "thing==7")


def test_a_wheel_for_another_platform_does_not_do(make_host: MakeHost, index: Index) -> None:
    index.wheels = {"thing-1.0-cp313-cp313-manylinux_2_28_aarch64.whl": make_wheel("thing")}
    host = make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple"))
    with pytest.raises((Unsatisfiable, NoWheelForPlatform)):
        resolve(host)


def test_a_project_near_by_has_no_say(
    make_host: MakeHost, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nindex-url = "http://127.0.0.1:9/simple"\n')
    (tmp_path / "uv.toml").write_text('index-url = "http://127.0.0.1:9/simple"\n')
    monkeypatch.chdir(tmp_path)
    assert resolve(make_host(environ=environ(PIP_INDEX_URL=f"{index.url}/simple")))
