"""What the layer writer refuses, and the fields of a header that ordinary files never reach."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import PurePosixPath

import pytest

from builder.oci import tar
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import ChangedFile, Compression, RepeatedPath, store_tar, write_layer

CONTENT = b"weights"


def file_entry(path: str = "/model", content: bytes = CONTENT, size: int | None = None, uid: int = 0) -> FileEntry:
    return FileEntry(
        path=PurePosixPath(path),
        kind=EntryKind.FILE,
        mode=0o644,
        uid=uid,
        digest=Digest.of(content),
        size=len(content) if size is None else size,
    )


@pytest.mark.parametrize(
    ("staged", "difference"),
    [
        (b"weight", "1 bytes are missing"),
        (b"weights and more", "it is longer"),
        (b"WEIGHTS", "instead of sha256:"),
        (b"", "7 bytes are missing"),
    ],
)
def test_a_file_that_changed_is_refused(staged: bytes, difference: str) -> None:
    with pytest.raises(ChangedFile, match=difference):
        write_layer([file_entry()], lambda _: io.BytesIO(staged), Compression.NONE, io.BytesIO())


def test_a_path_is_named_once() -> None:
    with pytest.raises(RepeatedPath, match="/model"):
        write_layer([file_entry(), file_entry()], lambda _: io.BytesIO(CONTENT), Compression.NONE, io.BytesIO())


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 10 * 2**40])
@pytest.mark.parametrize("uid", [0, 8**7 - 1, 8**7, 2**32 - 2])
def test_sizes_over_8_gib_and_large_owners_are_legal(size: int, uid: int) -> None:
    block = tar.header(file_entry(size=size, uid=uid))

    member = tarfile.TarFile(fileobj=io.BytesIO(block + tar.END)).next()

    assert member is not None
    assert (member.size, member.uid, member.name) == (size, uid, "model")


@pytest.mark.parametrize("length", [1, 98, 99, 100, 101, 255, 4000])
def test_paths_and_targets_of_any_length(length: int) -> None:
    name = "x" * length
    blocks = tar.header(FileEntry.directory(f"/{name}")) + tar.header(FileEntry.symlink("/link", name)) + tar.END

    with tarfile.open(fileobj=io.BytesIO(blocks)) as archive:
        directory, link = archive.getmembers()

    assert (directory.name, directory.isdir()) == (name, True)
    assert (link.name, link.linkname) == ("link", name)


def test_gzip_members_join_to_the_tar_and_hold_no_time_and_no_name() -> None:
    content = bytes(range(256)) * (140 << 10)  # 35 MiB: three members
    stored = io.BytesIO()

    written = store_tar((content[n : n + 999_983] for n in range(0, len(content), 999_983)), Compression.GZIP, stored)

    assert gzip.decompress(stored.getvalue()) == content
    assert written.diff_id == Digest.of(content)
    magic, method, flags, time = stored.getvalue()[:2], *stored.getvalue()[2:4], stored.getvalue()[4:8]
    assert (magic, method, flags, time) == (b"\x1f\x8b", 8, 0, bytes(4))


def test_progress_counts_the_bytes_of_files() -> None:
    counted: list[int] = []

    write_layer([file_entry()], lambda _: io.BytesIO(CONTENT), Compression.GZIP, io.BytesIO(), counted.append)

    assert sum(counted) == len(CONTENT)
