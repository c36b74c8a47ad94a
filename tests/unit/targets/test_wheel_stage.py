"""Wheels become trees: where members go, what is left out, and what is refused."""

from __future__ import annotations

import base64
import csv
import hashlib
import stat
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from builder.host import Host
from builder.host.trees import StagedTree
from builder.oci.entry import EntryKind
from builder.plan.prune import PruneRules
from builder.plan.wheel import LockedWheel
from builder.targets.wheel_stage import UnsafeWheel, WheelsDisagree, runtime_rules, stage_wheels
from tests.support.hosts import real_host
from tests.support.wheels import WHEEL, make_wheel, stored_wheel, zipped

SITE = PurePosixPath("/opt/site")
ALL = PruneRules(prune={}, keep={})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path, {})


def contents(tree: StagedTree) -> dict[str, bytes]:
    return {str(e.path.relative_to(SITE)): tree.files[e.digest].read_bytes() for e in tree.entries if e.digest}


def stage(host: Host, content: bytes, rules: PruneRules = ALL) -> dict[str, bytes]:
    return contents(stage_wheels((stored_wheel(host.store, content),), SITE, rules, host))


def test_members_go_to_site_packages_and_metadata_stays(host: Host) -> None:
    found = stage(host, make_wheel("thing", files={"thing/__init__.py": b"x", "thing.libs/a.so": b"so"}))
    assert set(found) == {
        "thing/__init__.py",
        "thing.libs/a.so",
        *(f"thing-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "INSTALLER")),
    }


def test_pruned_files_are_gone_and_the_record_is_true(host: Host) -> None:
    files = {"thing/__init__.py": b"x", "thing/tests/test_a.py": b"t", "thing/a, b.txt": b"comma"}
    found = stage(host, make_wheel("thing", files=files), PruneRules(prune={"**/tests/**": "tests"}, keep={}))
    rows = list(csv.reader(found["thing-1.0.dist-info/RECORD"].decode().splitlines()))
    assert {row[0] for row in rows} == set(found)
    for path, digest, size in rows:
        if path != "thing-1.0.dist-info/RECORD":
            expected = base64.urlsafe_b64encode(hashlib.sha256(found[path]).digest()).decode().rstrip("=")
            assert (digest, size) == (f"sha256={expected}", str(len(found[path])))


def test_what_differs_from_machine_to_machine_is_not_written(host: Host) -> None:
    own = "thing-1.0.dist-info"
    files = {f"{own}/direct_url.json": b"{}", f"{own}/REQUESTED": b"", f"{own}/RECORD.jws": b"", "thing.py": b""}
    files |= {"thing-1.0.data/scripts/run": b"#!python", "thing-1.0.data/headers/thing.h": b""}
    files |= {"thing-1.0.data/purelib/extra.py": b"", "thing-1.0.data/platlib/extra/b.so": b""}
    found = stage(host, make_wheel("thing", files=files))
    assert sorted(path for path in found if own not in path) == ["extra.py", "extra/b.so", "thing.py"]
    assert not {f"{own}/direct_url.json", f"{own}/REQUESTED", f"{own}/RECORD.jws"} & set(found)


def test_modes_are_two_and_times_none(host: Host) -> None:
    program, text = zipfile.ZipInfo("thing/run", (2020, 2, 2, 2, 2, 2)), zipfile.ZipInfo("thing/text")
    program.external_attr, text.external_attr = (stat.S_IFREG | 0o4711) << 16, (stat.S_IFREG | 0o600) << 16
    wheel = zipped([(program, b"p"), (text, b"t"), (zipfile.ZipInfo("thing-1.0.dist-info/WHEEL"), WHEEL.encode())])
    tree = stage_wheels((stored_wheel(host.store, wheel),), SITE, ALL, host)
    modes = {entry.path.name: entry.mode for entry in tree.entries if entry.kind is EntryKind.FILE}
    assert (modes["run"], modes["text"]) == (0o755, 0o644)


def test_a_large_member_is_whole(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.targets.wheel_stage._IN_MEMORY", 10)
    content = bytes(range(256)) * 8192
    assert stage(host, make_wheel("thing", files={"thing/big.so": content}))["thing/big.so"] == content


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "thing/../../evil",
        "/etc/passwd",
        "thing//x",
        "thing/./x",
        "C:/x",
        "a\\b",
        "thing-1.0.data/data/etc/x",
    ],
)
def test_a_member_that_leaves_its_place_is_refused(host: Host, name: str) -> None:
    with pytest.raises(UnsafeWheel):
        stage(host, make_wheel("thing", files={name: b""}))
    assert not list((host.store.root / "directories" / "wheels").glob("[0-9a-f]*/"))


def test_a_link_is_refused(host: Host) -> None:
    link = zipfile.ZipInfo("thing/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    wheel = zipped([(link, b"/etc/passwd"), (zipfile.ZipInfo("thing-1.0.dist-info/WHEEL"), WHEEL.encode())])
    with pytest.raises(UnsafeWheel, match="symbolic link"):
        stage(host, wheel)


def test_two_members_for_one_place_are_refused(host: Host) -> None:
    files = {"thing.py": b"1", "thing-1.0.data/purelib/thing.py": b"2"}
    with pytest.raises(UnsafeWheel, match="twice"):
        stage(host, make_wheel("thing", files=files))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"other-1.0.dist-info/WHEEL": b""}, "dist-info"),
        ({"thing-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\n"}, "format version"),
    ],
)
def test_odd_metadata_is_refused(host: Host, files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(UnsafeWheel, match=reason):
        stage(host, make_wheel("thing", files=files))


def test_bytes_that_are_no_archive_are_refused(host: Host) -> None:
    with pytest.raises(UnsafeWheel):
        stage(host, b"not a zip")


def test_a_bomb_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.targets.wheel_stage.LARGEST", 1000)
    with pytest.raises(UnsafeWheel, match="unpacks to"):
        stage(host, make_wheel("thing", files={"thing/zeros": bytes(2000)}))


def two_wheels(host: Host, requires: str) -> tuple[LockedWheel, ...]:
    needy = stored_wheel(host.store, make_wheel("thing", requires=(requires, "absent>=3", "odd ==")))
    return needy, stored_wheel(host.store, make_wheel("other", "2.0"), "other", "2.0")


@pytest.mark.parametrize(
    "requires", ["Other>=2", "other", "other>=9; extra == 'x'", "other>9; sys_platform == 'win32'"]
)
def test_wheels_that_agree_are_taken_and_missing_ones_are_no_matter(host: Host, requires: str) -> None:
    assert stage_wheels(two_wheels(host, requires), SITE, ALL, host).entries


def test_wheels_that_disagree_are_refused(host: Host) -> None:
    with pytest.raises(WheelsDisagree, match=r"thing-1\.0 needs other>=3, but the wheels have other 2\.0"):
        stage_wheels(two_wheels(host, "other>=3"), SITE, ALL, host)


def test_the_second_time_nothing_is_made(host: Host) -> None:
    wheels = (stored_wheel(host.store, make_wheel("thing")),)
    first, written = stage_wheels(wheels, SITE, ALL, host), host.store.written
    assert stage_wheels(wheels, SITE, ALL, host) == first
    assert host.store.written == written
    stage_wheels(wheels, SITE, PruneRules(prune={"x": "y"}, keep={}), host)
    assert host.store.written == written + 1


def test_each_rule_of_the_runtime_has_a_reason() -> None:
    rules = runtime_rules()
    assert all(len(reason) > 4 for reason in (rules.prune | rules.keep).values())
    assert rules.pruned_by(PurePosixPath("onnxruntime/transformers/a/b.py"))
    assert not rules.pruned_by(PurePosixPath("onnxruntime/capi/libonnxruntime_providers_shared.so"))
    assert not rules.pruned_by(PurePosixPath("numpy-2.5.5.dist-info/licenses/numpy/tests/LICENSE"))
