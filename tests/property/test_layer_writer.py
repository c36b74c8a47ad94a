"""A layer's bytes depend on its entries only, and every reader gets back what went in."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.host.trees import StagedTree
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import Compression, WrittenLayer, write_layer

names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, min_size=1, max_size=5).map(lambda parts: PurePosixPath("/", *parts))
modes = st.integers(0, 0o7777)
owners = st.integers(0, 2**31 - 1)


@st.composite
def entries(draw: st.DrawFn) -> tuple[list[FileEntry], dict[Digest, bytes]]:
    contents: dict[Digest, bytes] = {}
    found = []
    for path in draw(st.lists(paths, max_size=8, unique=True)):
        kind = draw(st.sampled_from(EntryKind))
        content = draw(st.binary(max_size=2000)) if kind is EntryKind.FILE else None
        if content is not None:
            contents[Digest.of(content)] = content
        found.append(
            FileEntry(
                path=path,
                kind=kind,
                mode=draw(modes),
                uid=draw(owners),
                gid=draw(owners),
                digest=None if content is None else Digest.of(content),
                size=len(content or b""),
                target=draw(names | paths.map(str)) if kind is EntryKind.SYMLINK else "",
            )
        )
    return found, contents


def layer(
    listed: list[FileEntry], contents: dict[Digest, bytes], compression: Compression
) -> tuple[bytes, WrittenLayer]:
    out = io.BytesIO()
    written = write_layer(listed, lambda digest: io.BytesIO(contents[digest]), compression, out)
    return out.getvalue(), written


@given(entries(), st.sampled_from(Compression), st.randoms())
def test_the_order_of_entries_does_not_matter(
    given_entries: tuple[list[FileEntry], dict[Digest, bytes]], compression: Compression, shuffle: random.Random
) -> None:
    listed, contents = given_entries
    shuffled = list(listed)
    shuffle.shuffle(shuffled)

    assert layer(shuffled, contents, compression) == layer(listed, contents, compression)


@given(entries(), st.sampled_from(Compression))
def test_the_standard_library_reads_every_entry_back(
    given_entries: tuple[list[FileEntry], dict[Digest, bytes]], compression: Compression
) -> None:
    listed, contents = given_entries

    stored, written = layer(listed, contents, compression)

    plain = stored if compression is Compression.NONE else gzip.decompress(stored)
    assert written.diff_id == Digest.of(plain)
    assert (written.descriptor.digest, written.descriptor.size) == (Digest.of(stored), len(stored))
    assert len(plain) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(plain), errors="strict") as archive:
        seen = {PurePosixPath("/", member.name): member for member in archive}
        assert set(seen) == {entry.path for entry in listed}
        for entry in listed:
            member = seen[entry.path]
            assert (member.mode, member.uid, member.gid, member.mtime) == (entry.mode, entry.uid, entry.gid, 0)
            assert (member.uname, member.gname) == ("", "")
            assert member.linkname == entry.target
            file = archive.extractfile(member) if member.isreg() else None
            assert (file.read() if file else None) == (contents[entry.digest] if entry.digest else None)


@given(entries())
def test_parents_come_before_what_is_in_them(given_entries: tuple[list[FileEntry], dict[Digest, bytes]]) -> None:
    listed, contents = given_entries
    named = {parent for entry in listed for parent in entry.path.parents} - {PurePosixPath("/")}
    with_parents = [entry for entry in listed if entry.path not in named]
    with_parents += [FileEntry.directory(parent) for parent in named]

    stored, _ = layer(with_parents, contents, Compression.NONE)

    seen: set[PurePosixPath] = {PurePosixPath("/")}
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        for member in archive:
            path = PurePosixPath("/", member.name)
            assert path.parent in seen
            seen.add(path)


@contextmanager
def surroundings(directory: Path, umask: int, zone: str, locale: str) -> Iterator[None]:
    before, cwd, old_umask = dict(os.environ), Path.cwd(), os.umask(umask)
    os.environ |= {"TZ": zone, "LC_ALL": locale}
    os.chdir(directory)
    time.tzset()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        time.tzset()
        os.umask(old_umask)
        os.chdir(cwd)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staged")


@settings(max_examples=20)
@given(
    umask=st.sampled_from([0o000, 0o022, 0o077]),
    zone=st.sampled_from(["UTC", "Asia/Kathmandu", "America/St_Johns"]),
    locale=st.sampled_from(["C", "de_DE.UTF-8", "tr_TR.UTF-8"]),
    mtime=st.integers(0, 2**32),
)
def test_where_and_when_it_is_written_does_not_matter(
    staged: Path, umask: int, zone: str, locale: str, mtime: int
) -> None:
    contents = {Digest.of(text): text for text in (b"one", b"two" * 1000)}
    listed = [
        FileEntry(path=PurePosixPath("/a", str(n)), kind=EntryKind.FILE, mode=0o644, digest=digest, size=len(text))
        for n, (digest, text) in enumerate(contents.items())
    ]
    expected = layer(listed, contents, Compression.GZIP)
    with surroundings(staged, umask, zone, locale):
        for digest, content in contents.items():
            Path(digest.hex).write_bytes(content)
            os.utime(digest.hex, (mtime, mtime))
        out = io.BytesIO()
        tree = StagedTree(entries=tuple(listed), files={digest: Path(digest.hex) for digest in contents})
        written = write_layer(tree.entries, tree.open, Compression.GZIP, out)

    assert (out.getvalue(), written) == expected
