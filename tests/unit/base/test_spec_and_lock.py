"""image.yaml and image.lock: the shipped ones are sound, and wrong ones are told in full."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from builder.base.catalogue import changes, list_bases
from builder.base.lock import (
    BaseLock,
    BaseLockDrift,
    BaseNotLocked,
    MalformedBaseLock,
    read_lock,
    write_lock,
    written_lock,
)
from builder.base.spec import InvalidBaseSpec, PlatformNotOffered, UnknownBase, load_base, read_spec
from builder.base.stage import base_key
from builder.oci.platform import Platform

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


def test_the_shipped_cpu_base_is_locked_for_both_platforms() -> None:
    image = load_base("cpu")
    lock = read_lock(image)
    assert lock.platforms.keys() == {AMD64, ARM64}
    assert lock.python.startswith(image.python + ".")
    for packages in lock.platforms.values():
        names = [package.package for package in packages]
        assert names == sorted(names)
        assert set(image.packages) <= set(names)
        assert not set(image.exclude) & set(names)
    assert image.user.uid != 0


def test_a_lock_names_no_host() -> None:
    image = load_base("cpu")
    assert "://" not in image.lock_path.read_text()
    for packages in read_lock(image).platforms.values():
        assert all(package.path.startswith("pool/") for package in packages)


def test_a_lock_survives_the_round_trip_byte_by_byte(tmp_path: Path) -> None:
    image = load_base("cpu")
    write_lock(read_lock(image), tmp_path / "image.lock")
    assert (tmp_path / "image.lock").read_bytes() == image.lock_path.read_bytes()


def test_every_prune_rule_of_a_shipped_base_has_a_reason() -> None:
    rules = load_base("cpu").rules
    assert all(reason.strip() for reason in (*rules.prune.values(), *rules.keep.values()))


def test_bases_are_listed() -> None:
    (cpu,) = [summary for summary in list_bases() if summary.name == "cpu"]
    assert cpu.suite == "trixie"
    assert all(size > 5_000_000 for _, size in cpu.download)


def test_an_unknown_base_names_the_known_ones() -> None:
    with pytest.raises(UnknownBase) as caught:
        load_base("gpu")
    assert "cpu" in caught.value.advice


def test_all_problems_of_a_spec_are_told_at_once_with_their_paths(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_text(
        "description: x\nsuite: trixie\narchives: [{name: debian, suites: []}]\ncomponents: [main]\n"
        "platforms: [windows/amd64]\nkeyring: k\npython: 3.13\npackages: [libc6]\n"
        "user: {name: root, uid: 0}\nextra: 1\n"
    )
    with pytest.raises(InvalidBaseSpec) as caught:
        read_spec(tmp_path / "image.yaml")
    text = str(caught.value)
    for path in ("archives[0].suites:", "platforms[0]:", "python:", "user.name:", "user.uid:", "extra:"):
        assert path in text


def test_what_a_schema_cannot_say_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_text(
        "description: x\nsuite: trixie\narchives: [{name: debian, suites: [trixie]}]\ncomponents: [main]\n"
        "platforms: [linux/amd64]\nkeyring: none.gpg\npython: '3.13'\npackages: [libc6]\n"
        "exclude: {libc6: why}\nuser: {name: me, uid: 10001}\n"
    )
    with pytest.raises(InvalidBaseSpec) as caught:
        read_spec(tmp_path / "image.yaml")
    assert "exclude.libc6: is also among packages" in str(caught.value)
    assert "keyring: there is no file none.gpg" in str(caught.value)


def test_a_broken_yaml_file_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_text("packages: [")
    with pytest.raises(InvalidBaseSpec, match="not YAML"):
        read_spec(tmp_path / "image.yaml")


def test_a_lock_is_missing_malformed_or_drifted(tmp_path: Path) -> None:
    image = load_base("cpu")
    path = tmp_path / "image.lock"
    with pytest.raises(BaseNotLocked):
        read_lock(image, path)
    for text in ("[]", "{", "{}", json.dumps({**json.loads(image.lock_path.read_text()), "keyring": "x"})):
        path.write_text(text)
        with pytest.raises(MalformedBaseLock):
            read_lock(image, path)
    with pytest.raises(BaseLockDrift, match="packages"):
        read_lock(dataclasses.replace(image, packages=(*image.packages, "curl")))
    other = tmp_path / "other.gpg"
    other.write_bytes(b"")
    with pytest.raises(BaseLockDrift, match="keyring"):
        read_lock(dataclasses.replace(image, keyring=other))


def test_a_lock_that_no_longer_fits_can_still_be_compared_with_a_new_one(tmp_path: Path) -> None:
    image = load_base("cpu")
    changed = dataclasses.replace(image, packages=(*image.packages, "curl"))
    assert written_lock(changed, image.lock_path) == read_lock(image)
    assert written_lock(changed, tmp_path / "image.lock") is None


def test_the_base_for_triton_has_the_library_of_its_python() -> None:
    image = load_base("triton-cpu")
    (packages,) = read_lock(image).platforms.values()
    names = {package.package for package in packages}
    assert {*image.packages, f"libpython{image.python}"} <= names
    assert not set(image.exclude) & names


def test_the_key_of_a_tree_depends_on_what_decides_its_bytes() -> None:
    image = load_base("cpu")
    lock = read_lock(image)
    key = base_key(image, lock, AMD64)
    assert key != base_key(image, lock, ARM64)
    assert key != base_key(dataclasses.replace(image, os_release=()), lock, AMD64)
    assert key == base_key(dataclasses.replace(image, env=(), description="other"), lock, AMD64)
    with pytest.raises(PlatformNotOffered, match="linux/riscv64"):
        base_key(image, lock, Platform.parse("linux/riscv64"))


def test_changes_between_locks() -> None:
    lock = read_lock(load_base("cpu"))
    first, *rest = lock.platforms[AMD64]
    older = dataclasses.replace(first, version="0:0.1")
    before = dataclasses.replace(lock, platforms={**lock.platforms, AMD64: (older, *rest[1:])})
    upgraded, added = changes(before, lock)
    assert (upgraded.package, upgraded.before, upgraded.after) == (first.package, "0:0.1", first.version)
    assert (added.package, added.before) == (rest[0].package, "")
    assert not changes(lock, lock)
    assert isinstance(lock, BaseLock)
