"""Makes the layers of chunk files, each in one pass over its bytes: digest of the file, tar, digest of the layer, blob.

A chunk whose pieces nobody touched since is not read again. Chunks are made side by side, since hashing and writing
leave the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

from builder.assemble.embedded import THREADS, note_layer, stored_layer
from builder.assemble.meter import Meter
from builder.canonical import content_key
from builder.host import Host
from builder.host.remembered import is_settled, stamp
from builder.host.trees import StagedTree
from builder.oci.content import Piece, content_size, open_content
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import Compression, write_file_layer
from builder.plan.layering import weights_layer

_KIND = "chunks"
_UNKNOWN = Digest.of(b"")

Chunks = Sequence[tuple[PurePosixPath, tuple[Piece, ...]]]


def stage_chunks(chunks: Chunks, step: str, host: Host) -> StagedTree:
    """The chunk files at their paths in the image, as entries; their layers are in the store afterwards."""
    meter = Meter(host.events, step, sum(content_size(pieces) for _, pieces in chunks))

    def stage(chunk: tuple[PurePosixPath, tuple[Piece, ...]]) -> FileEntry:
        return _known(*chunk, host) or _made(*chunk, host, meter.advance)

    with ThreadPoolExecutor(THREADS) as pool:
        entries = tuple(pool.map(stage, chunks))
    files = {entry.digest: pieces for entry, (_, pieces) in zip(entries, chunks, strict=True) if entry.digest}
    return StagedTree(entries=tuple(sorted(entries, key=lambda entry: entry.path)), files=files)


def _entry(path: PurePosixPath, pieces: tuple[Piece, ...], digest: Digest) -> FileEntry:
    return FileEntry(path=path, kind=EntryKind.FILE, mode=0o644, digest=digest, size=content_size(pieces))


def _known(path: PurePosixPath, pieces: tuple[Piece, ...], host: Host) -> FileEntry | None:
    """The entry of a chunk that was made before, if its pieces and its layer are as they were."""
    record = host.store.record(_KIND, _key(path, pieces, _stamps(pieces)))
    if record is None:
        return None
    entry = _entry(path, pieces, Digest(record["digest"]))
    return entry if stored_layer(host.store, weights_layer(entry)) else None


def _made(path: PurePosixPath, pieces: tuple[Piece, ...], host: Host, on_bytes: Callable[[int], None]) -> FileEntry:
    before, began = _stamps(pieces), host.clock.now()
    entry = _entry(path, pieces, _UNKNOWN)
    with host.store.temporary_blob() as out, open_content(pieces) as source:
        written, digest = write_file_layer(entry, source, out, on_bytes)
        host.store.commit(out)
    entry = replace(entry, digest=digest)
    note_layer(host.store, weights_layer(entry), written)
    if is_settled(before.values(), began) and _stamps(pieces) == before:
        host.store.put_record(_KIND, _key(path, pieces, before), {"digest": str(digest)})
    return entry


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
