"""Chunks become layers in one pass, once; what nobody touched is not read again."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from builder.assemble import weights
from builder.assemble.embedded import stored_layer
from builder.assemble.weights import Keep, stage_chunks
from builder.host import Host
from builder.host.fs import NotEnoughRoom
from builder.oci.content import Piece
from builder.oci.digest import Digest
from builder.oci.layer_writer import ChangedFile
from builder.plan.layering import weights_layer
from tests.support.disks import leave_free
from tests.support.hosts import real_host

PATH = PurePosixPath("/models/m/1/weights/a.bin")
HOUR_AGO = 3600


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path / "store", {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * 8192)
    return path


def pieces(file: Path) -> tuple[Piece, ...]:
    return (Piece(file, 1_000_000, 500_000), Piece(None, 0, 100), Piece(file, 0, 1_000_000))


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("a weight was read")

    monkeypatch.setattr(weights, "open_content", refuse)


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been changed long ago (times of change cannot be set from here)."""
    monkeypatch.setattr(weights, "is_settled", lambda *_: True)


def test_a_chunk_is_its_pieces_one_after_the_other(host: Host, file: Path) -> None:
    content = file.read_bytes()
    expected = content[1_000_000:1_500_000] + bytes(100) + content[:1_000_000]
    tree = stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    (entry,) = tree.entries
    assert entry.digest == Digest.of(expected)
    with tree.open(entry.digest) as stream:
        assert stream.read() == expected
    layer = stored_layer(host.store, weights_layer(entry))
    assert layer is not None
    assert layer.descriptor.digest == layer.diff_id
    assert b"".join(host.store.read_blob(layer.diff_id))[512 : 512 + len(expected)] == expected


def test_what_nobody_touched_is_not_read_again(host: Host, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    first = stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    forbid_reading(monkeypatch)
    assert stage_chunks([(PATH, pieces(file))], Keep.BLOB, host) == first


@pytest.mark.parametrize("keep_time", [False, True])
def test_what_was_touched_is_read_again(
    host: Host, file: Path, monkeypatch: pytest.MonkeyPatch, keep_time: bool
) -> None:
    settled(monkeypatch)
    first = stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    status = file.stat()
    with file.open("r+b") as out:
        out.write(b"other")
    if keep_time:  # the time of change of the inode cannot be set back
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stage_chunks([(PATH, pieces(file))], Keep.BLOB, host).entries != first.entries


def test_a_file_that_changed_just_now_is_not_remembered(
    host: Host, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(file)
    stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    forbid_reading(monkeypatch)
    with pytest.raises(AssertionError, match="was read"):
        stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)


def test_a_file_that_was_cut_off_is_refused(host: Host, file: Path) -> None:
    with file.open("r+b") as out:
        out.truncate(600_000)
    with pytest.raises(ChangedFile, match=r"a\.bin"):
        stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)


def test_what_has_no_room_is_not_begun(host: Host, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_free(1_000_000, monkeypatch)
    with pytest.raises(NotEnoughRoom, match=r"0\.00 GB are needed in .* for the layers of the weights, and 0\.00 GB"):
        stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    assert not list(host.store.root.rglob("blobs/sha256/*"))


def test_what_is_there_needs_no_room(host: Host, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    made = stage_chunks([(PATH, pieces(file))], Keep.BLOB, host)
    leave_free(0, monkeypatch)
    assert stage_chunks([(PATH, pieces(file))], Keep.BLOB, host).entries == made.entries


def test_digests_need_no_room(host: Host, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_free(0, monkeypatch)
    assert stage_chunks([(PATH, pieces(file))], Keep.DIGEST, host).entries
