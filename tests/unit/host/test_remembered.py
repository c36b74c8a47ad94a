"""Digests that are remembered are those of the file as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.host.remembered import is_settled, remembered_digest
from builder.host.store import Store
from builder.oci.digest import Digest

LATER = 4e9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(bytes(2 << 20))
    return path


def test_a_file_is_read_once(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = remembered_digest(file, store, LATER)
    assert digest == Digest.of(bytes(2 << 20))
    monkeypatch.setattr(Digest, "of_file", None)
    assert remembered_digest(file, store, LATER) == digest


def test_a_file_that_changed_is_read_again(store: Store, file: Path) -> None:
    first = remembered_digest(file, store, LATER)
    times = file.stat()
    file.write_bytes(bytes(1 << 20) + b"1" * (1 << 20))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert remembered_digest(file, store, LATER) != first


def test_what_changed_in_the_same_tick_is_not_remembered() -> None:
    def settled(changed: int, now: float) -> bool:
        return is_settled([(0, 0, 0, 0, changed)], now)

    assert settled(1_500_000_000, 2.0)
    assert not settled(1_950_000_000, 2.0)
    assert not settled(1_000_000_000, 2.0)  # a clock of whole seconds
    assert settled(1_000_000_000, 3.1)
