"""The store: what is there is as it was made, and what is not is made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.host.store import DamagedBlob, Store
from builder.oci.digest import Digest

CONTENT = b"some bytes of a layer"
DAY = 24 * 3600


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


damaged_by = pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def make(directory: Path) -> None:
    (directory / "inner").mkdir()
    (directory / "inner" / "file").write_bytes(CONTENT)
    (directory / "inner" / Digest.of(CONTENT).hex).write_bytes(CONTENT)
    (directory / "link").symlink_to("inner/file")


@damaged_by
def test_a_damaged_blob_is_not_there(store: Store, damage: Callable[[Path], None]) -> None:
    stored = store.put_blob([CONTENT])
    assert store.has_blob(stored.digest)
    damage(stored.path)
    assert not store.has_blob(stored.digest)
    assert not stored.path.exists()


def test_a_blob_of_another_time_is_read_once(store: Store) -> None:
    stored = store.put_blob([CONTENT])
    sealed = stored.path.stat().st_mtime_ns
    os.utime(stored.path)
    assert store.has_blob(stored.digest)
    assert stored.path.stat().st_mtime_ns == sealed


def test_reading_a_damaged_blob_fails(store: Store) -> None:
    stored = store.put_blob([CONTENT])
    flip(stored.path)
    with pytest.raises(DamagedBlob) as caught:
        list(store.read_blob(stored.digest))
    assert "mbuild cache verify" in caught.value.advice


@damaged_by
@pytest.mark.parametrize("name", ["inner/file", f"inner/{Digest.of(CONTENT).hex}", "link"])
def test_a_damaged_directory_is_made_again(store: Store, damage: Callable[[Path], None], name: str) -> None:
    path = store.directory("trees", "key", make)
    damage(path / name)
    assert not store.has_directory("trees", "key")
    assert store.directory("trees", "key", make) == path
    assert (path / "link").read_bytes() == CONTENT == (path / "inner" / Digest.of(CONTENT).hex).read_bytes()
    assert store.has_directory("trees", "key")


def test_a_directory_is_made_once_whatever_is_written_beside_its_files(store: Store) -> None:
    path = store.directory("trees", "key", make)
    (path / "inner" / "cache").write_bytes(b"of a program")
    os.utime(path / "inner" / "file")
    written = store.written
    store.directory("trees", "key", make)
    assert store.written == written


@damaged_by
def test_a_damaged_seal_opens_nothing(store: Store, damage: Callable[[Path], None]) -> None:
    path = store.directory("trees", "key", make)
    damage(path.with_name("key.seal"))
    assert not store.has_directory("trees", "key")


@pytest.mark.parametrize("position", range(0, 100, 7))
def test_a_damaged_record_is_none(store: Store, position: int) -> None:
    store.put_record("layers", "key", {"digest": "sha256:abc", "size": 5})
    path = store.root / "records/layers/key.json"
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1
    path.write_bytes(content)
    assert store.record("layers", "key") in (None, {"digest": "sha256:abc", "size": 5})


def test_verify_removes_what_is_damaged_and_nothing_else(store: Store) -> None:
    whole, damaged = store.put_blob([b"whole"]), store.put_blob([CONTENT])
    tree, broken = store.directory("trees", "whole", make), store.directory("trees", "broken", make)
    store.put_record("layers", "whole", {"a": 1})
    store.put_record("layers", "broken", {"a": 1})
    record = store.root / "records/layers/broken.json"
    for path in (damaged.path, broken / "inner/file"):  # silently: size and time stay
        times = path.stat()
        flip(path)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    truncate(record)

    assert store.remove_damaged() == (damaged.path, broken, record)
    assert whole.path.exists()
    assert tree.exists()
    assert store.record("layers", "whole")
    assert store.remove_damaged() == ()


def test_leftovers_of_a_killed_build_are_swept_after_a_day_and_cleared_at_once(store: Store) -> None:
    store.put_blob([CONTENT])
    left = [store.root / name for name in ("blobs/sha256/.part-x", "tmp/mbuild-x", "directories/trees/.part-y")]
    for path in left:
        path.mkdir(parents=True)
        (path / "file").write_bytes(CONTENT)
    made = left[0].stat().st_mtime

    store.sweep(made + DAY / 2)
    assert all(path.exists() for path in left)
    store.sweep(made + DAY * 2)
    assert not any(path.exists() for path in left)
    (store.root / "tmp/mbuild-z").mkdir()
    store.clear()
    assert list(store.root.iterdir()) == []
