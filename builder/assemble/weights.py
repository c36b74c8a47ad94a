"""Makes the layers of chunk files, each in one pass over its bytes: digest of the file, tar, digest of the layer, blob.

A chunk whose pieces nobody touched since is not read again. Chunks are made side by side, since hashing and writing
leave the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from pathlib import PurePosixPath

from builder.assemble.embedded import THREADS, note_layer, noted_layer, stored_layer
from builder.assemble.meter import Meter
from builder.canonical import content_key
from builder.host import Host
from builder.host.fs import require_room
from builder.host.remembered import is_settled, stamp
from builder.host.trees import StagedTree
from builder.oci.content import Piece, content_size, open_content
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import Compression, write_file_layer
from builder.plan.layering import weights_layer

STEP = "stage"
_KIND = "chunks"
_UNKNOWN = Digest.of(b"")

Chunks = Sequence[tuple[PurePosixPath, tuple[Piece, ...]]]


class Keep(Enum):
    """What of a layer is kept: its bytes in the store, or its digest alone (they are read again to be sent)."""

    BLOB = "blob"
    DIGEST = "digest"


def stage_chunks(chunks: Chunks, keep: Keep, host: Host) -> StagedTree:
    """The chunk files at their paths in the image, as entries; their layers are known to the store afterwards.

    Raises NotEnoughRoom before anything is written.
    """
    known = [_known(*chunk, keep, host) for chunk in chunks]
    missing = sum(content_size(pieces) for (_, pieces), entry in zip(chunks, known, strict=True) if entry is None)
    if keep is Keep.BLOB:
        require_room(host.store.root, missing, "the layers of the weights")
    meter = Meter(host.events, STEP, missing)

    def stage(chunk: tuple[PurePosixPath, tuple[Piece, ...]], entry: FileEntry | None) -> FileEntry:
        return entry or _made(*chunk, keep, host, meter.advance)

    with ThreadPoolExecutor(THREADS) as pool:
        entries = tuple(pool.map(stage, chunks, known))
    files = {entry.digest: pieces for entry, (_, pieces) in zip(entries, chunks, strict=True) if entry.digest}
    return StagedTree(entries=tuple(sorted(entries, key=lambda entry: entry.path)), files=files)


def _entry(path: PurePosixPath, pieces: tuple[Piece, ...], digest: Digest) -> FileEntry:
    return FileEntry(path=path, kind=EntryKind.FILE, mode=0o644, digest=digest, size=content_size(pieces))


def _known(path: PurePosixPath, pieces: tuple[Piece, ...], keep: Keep, host: Host) -> FileEntry | None:
    """The entry of a chunk that was made before, if its pieces and its layer are as they were."""
    record = host.store.record(_KIND, _key(path, pieces, _stamps(pieces)))
    if record is None:
        return None
    entry = _entry(path, pieces, Digest(record["digest"]))
    find = stored_layer if keep is Keep.BLOB else noted_layer
    return entry if find(host.store, weights_layer(entry)) else None


def _made(
    path: PurePosixPath, pieces: tuple[Piece, ...], keep: Keep, host: Host, on_bytes: Callable[[int], None]
) -> FileEntry:
    before, began = _stamps(pieces), host.clock.now()
    entry = _entry(path, pieces, _UNKNOWN)
    with open_content(pieces) as source:
        if keep is Keep.DIGEST:
            written, digest = write_file_layer(entry, source, _Nowhere(), on_bytes)
        else:
            with host.store.temporary_blob() as out:
                written, digest = write_file_layer(entry, source, out, on_bytes)
                host.store.commit(out)
    entry = replace(entry, digest=digest)
    note_layer(host.store, weights_layer(entry), written)
    if is_settled(before.values(), began) and _stamps(pieces) == before:
        host.store.put_record(_KIND, _key(path, pieces, before), {"digest": str(digest)})
    return entry


class _Nowhere:
    """Takes bytes and keeps none."""

    def write(self, chunk: bytes, /) -> None:
        return None


def _stamps(pieces: tuple[Piece, ...]) -> dict[str, tuple[int, ...]]:
    paths = {piece.path for piece in pieces if piece.path}
    return {str(path): stamp(path) for path in sorted(paths)}


def _key(path: PurePosixPath, pieces: tuple[Piece, ...], stamps: dict[str, tuple[int, ...]]) -> str:
    return content_key(
        {
            "path": str(path),
            "pieces": [piece.to_json() for piece in pieces],
            "stamps": stamps,
            "writer": Compression.NONE.writer,
        }
    )
