"""The store: what is there is as it was made, and what is not is made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.host.clock import SystemClock
from builder.host.housekeeping import collect, plan_collection, remove_damaged, sweep, usage
from builder.host.store import DamagedBlob, Store
from builder.oci.digest import Digest
from builder.pipeline.cache import MalformedSize, parse_size
from tests.support.tiny_image import tiny_layout

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

    assert remove_damaged(store) == (damaged.path, broken, record)
    assert whole.path.exists()
    assert tree.exists()
    assert store.record("layers", "whole")
    assert remove_damaged(store) == ()


def test_reading_everything_does_not_count_as_use(store: Store) -> None:
    stored = store.put_blob([CONTENT])
    os.utime(stored.path, ns=(5, stored.path.stat().st_mtime_ns))
    remove_damaged(store)
    assert stored.path.stat().st_atime_ns == 5


def test_an_image_that_lacks_a_blob_is_damaged(store: Store) -> None:
    whole, broken = (tiny_layout(store.root / "images" / name).path for name in ("whole", "broken"))
    next(path for path in (broken / "blobs/sha256").iterdir()).unlink()
    assert broken in remove_damaged(store)
    assert whole.exists()
    assert not broken.exists()


@dataclass
class At(SystemClock):
    seconds: float

    def now(self) -> float:
        return self.seconds


def test_leftovers_are_swept_after_a_day_and_cleared_at_once(store: Store) -> None:
    store.put_blob([CONTENT])
    left = [store.root / name for name in ("blobs/sha256/.part-x", "tmp/mbuild-x", "directories/trees/.part-y")]
    for path in left:
        path.mkdir(parents=True)
        (path / "file").write_bytes(CONTENT)
    made = left[0].stat().st_mtime

    sweep(store, At(made + DAY / 2))
    assert all(path.exists() for path in left)
    assert sweep(store, At(made + DAY * 2)).files == 0, "nobody is known to have been killed"
    assert not any(path.exists() for path in left)
    (store.root / "tmp/mbuild-z").mkdir()
    store.clear()
    assert list(store.root.iterdir()) == []


# what may stay


def used(path: Path, seconds: float) -> None:
    os.utime(path, ns=(int(seconds * 1e9), path.stat().st_mtime_ns))


def test_the_least_recently_used_goes_first(store: Store) -> None:
    blobs = [store.put_blob([bytes([number]) * 1000]) for number in range(5)]
    for number, blob in enumerate(blobs):
        used(blob.path, 2_000_000_000 + number)
    assert store.has_blob(blobs[0].digest), "and so the last of all to go"
    used(blobs[0].path, 2_000_000_009)
    planned = plan_collection(store, 2500)
    assert [item.path for item in planned.items] == [blob.path for blob in blobs[1:4]]
    assert all(blob.path.exists() for blob in blobs)
    assert collect(store, 2500) == planned
    assert [blob.path.exists() for blob in blobs] == [True, False, False, False, True]
    assert (planned.freed, planned.size, planned.held) == (3000, 2000, 0)
    assert collect(store, 2500).items == ()


def test_asking_for_a_thing_is_using_it(store: Store) -> None:
    blob = store.put_blob([CONTENT])
    tree = store.directory("trees", "key", make)
    store.put_record("kind", "key", {"a": 1})
    marks = [blob.path, tree.with_name("key.seal"), store.root / "records/kind/key.json"]
    for mark in marks:
        used(mark, 5)
    assert store.has_blob(blob.digest) and store.has_directory("trees", "key") and store.record("kind", "key")
    assert all(mark.stat().st_atime > 1_000_000_000 for mark in marks)
    assert store.has_blob(blob.digest), "its time of change is what it was"


def test_a_directory_goes_with_its_seal_and_comes_again(store: Store) -> None:
    path = store.directory("trees", "key", make)
    assert collect(store, 0).freed > 0
    assert not path.exists()
    assert not store.has_directory("trees", "key")
    assert store.directory("trees", "key", make) == path
    assert store.has_directory("trees", "key")


def test_a_blob_with_two_names_is_counted_once_and_freed_with_the_last(store: Store) -> None:
    blob = store.put_blob([bytes(1000)])
    image = store.root / "images" / "a" / "b"
    image.mkdir(parents=True)
    os.link(blob.path, image / "layer")
    used(blob.path, 5)
    assert [(line.kind, line.items, line.size) for line in usage(store)] == [
        ("blobs/sha256", 1, 1000),
        ("images", 1, 0),
    ]
    done = collect(store, 0)
    assert (done.freed, done.size) == (1000, 0)
    assert [item.kind for item in done.items] == ["blobs/sha256", "images"]


def test_what_a_process_at_work_may_hold_stays(store: Store) -> None:
    old, held = store.put_blob([b"old"]), store.put_blob([b"held"])
    used(old.path, 5)
    used(held.path, 5)
    other = Store(store.root)
    assert other.has_blob(held.digest)
    done = collect(store, 0)
    assert [item.path for item in done.items] == [old.path]
    assert done.held == len(b"held")
    del other
    assert collect(store, 0).size == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("1.5GiB", 3 << 29), ("500 mb", 5 * 10**8), ("10k", 10_000), ("0", 0), ("7B", 7)],
)
def test_sizes_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "20 apples", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(MalformedSize, match="not an amount"):
        parse_size(text)
