"""Files that lie compressed in an archive, and layers that take them over."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

import pytest

from builder.oci.content import Deflated, open_content
from builder.oci.descriptor import LAYER_GZIP
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import ChangedFile, Compression, WrittenLayer, write_layer

LIBRARY = b"the same again and again " * 100_000 + os.urandom(100_000)


def deflated(directory: Path, content: bytes = LIBRARY) -> Deflated:
    place = directory / "thing.whl"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lib/libthing.so", content)
        item = archive.getinfo("lib/libthing.so")
    offset = item.header_offset + 30 + len(item.filename)
    return Deflated(path=place, offset=offset, stored=item.compress_size, length=item.file_size, crc=item.CRC)


def entry(content: bytes = LIBRARY, name: str = "/lib/libthing.so") -> FileEntry:
    place = PurePosixPath(name)
    return FileEntry(path=place, kind=EntryKind.FILE, mode=0o644, digest=Digest.of(content), size=len(content))


def layer(content: Deflated, compression: Compression) -> tuple[bytes, WrittenLayer]:
    """The library between two small files."""

    def opened(digest: Digest) -> IO[bytes]:
        return io.BytesIO(b"small") if digest == Digest.of(b"small") else open_content(content)

    out = io.BytesIO()
    entries = [entry(), entry(b"small", "/etc/a"), entry(b"small", "/usr/z")]
    written = write_layer(entries, opened, compression, out)
    return out.getvalue(), written


def test_it_reads_as_any_other_file(tmp_path: Path) -> None:
    with open_content(deflated(tmp_path)) as stream:
        assert stream.read(10) == LIBRARY[:10]
        assert stream.read() == LIBRARY[10:]


def test_a_layer_takes_it_over_as_it_is(tmp_path: Path) -> None:
    content = deflated(tmp_path)
    stored, written = layer(content, Compression.GZIP_REUSED)
    assert b"".join(content.chunks()) in stored
    assert written.descriptor.media_type == LAYER_GZIP
    assert (written.descriptor.digest, written.descriptor.size) == (Digest.of(stored), len(stored))
    plain = gzip.decompress(stored)
    assert written.diff_id == Digest.of(plain)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        names = archive.getnames()
        found = archive.extractfile("lib/libthing.so")
        assert found is not None
        assert found.read() == LIBRARY
    assert names == ["etc/a", "lib/libthing.so", "usr/z"]


def test_what_it_holds_does_not_depend_on_how_it_is_stored(tmp_path: Path) -> None:
    diff_ids = {layer(deflated(tmp_path), compression)[1].diff_id for compression in Compression}
    assert len(diff_ids) == 1


@pytest.mark.parametrize("compression", list(Compression))
def test_an_archive_that_was_cut_off_or_changed_is_told(tmp_path: Path, compression: Compression) -> None:
    content = deflated(tmp_path)
    whole = content.path.read_bytes()
    content.path.write_bytes(whole[: content.offset + content.stored // 2])
    with pytest.raises(ChangedFile, match="bytes are missing"):
        layer(content, compression)
    middle = content.offset + content.stored // 2
    content.path.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(ChangedFile, match=r"/lib/libthing\.so"):
        layer(content, compression)
    other = deflated(tmp_path, LIBRARY + b"x")
    with pytest.raises(ChangedFile, match="it is longer"):
        layer(other, compression)
