"""The content-addressed store in mbuild's cache directory.

Three kinds of thing, each put in its place by one rename, so that what is there is whole:

- ``blobs/sha256/<hex>``: bytes named by their digest (downloads, layers);
- ``records/<kind>/<key>.json``: what a step said it made, by the key of everything that can change it;
- ``directories/<kind>/<key>/``: a directory made once for a key (unpacked trees, environments).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from builder.canonical import readable_json
from builder.errors import IntegrityError
from builder.host.fs import atomic_write, disk_errors, remove_tree
from builder.oci.digest import Digest


class WrongDigest(IntegrityError):
    code = "wrong-digest"
    message = "{what} has the digest {actual}, not {expected}"
    hint = "the source changed or the transfer was damaged; run the command again, and if it stays so, lock anew"


class DamagedBlob(IntegrityError):
    code = "damaged-blob"
    message = "the blob {digest} in {path} no longer has its own digest"
    hint = "run `mbuild cache verify`, which removes damaged blobs; the next build makes them again"


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob in the store: its digest, size in bytes and path."""

    digest: Digest
    size: int
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """How much of the store one kind of thing takes: ``items``, and ``size`` in bytes."""

    kind: str
    items: int
    size: int


class BlobWriter:
    """Takes bytes, counts and hashes them on the way to a temporary file; ``Store.commit`` puts it in its place."""

    def __init__(self, out: IO[bytes], path: Path) -> None:
        self._out = out
        self.path = path
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes | memoryview) -> int:
        self._hash.update(chunk)
        self.size += len(chunk)
        return self._out.write(chunk)

    def sync(self) -> None:
        """Make sure that the bytes have reached the disk."""
        self._out.flush()
        os.fsync(self._out.fileno())

    @property
    def digest(self) -> Digest:
        return Digest.from_hex(self._hash.hexdigest())


class Store:
    """See the module. Safe for several processes: one writer a key holds a file lock; readers need none."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written = 0
        """How many things this process has put into the store: a step that puts nothing was cached."""

    # blobs

    def blob_path(self, digest: Digest) -> Path:
        return self.root / "blobs" / "sha256" / digest.hex

    def has_blob(self, digest: Digest) -> bool:
        return self.blob_path(digest).is_file()

    def put_blob(self, chunks: Iterable[bytes], *, expected: Digest | None = None, what: str = "the blob") -> Stored:
        """Write chunks as a blob. Raises WrongDigest when it is not ``expected``, and then keeps nothing."""
        with self.temporary_blob() as out:
            for chunk in chunks:
                out.write(chunk)
            if expected is not None and out.digest != expected:
                raise WrongDigest(what=what, actual=out.digest, expected=expected)
            return self.commit(out)

    @contextmanager
    def temporary_blob(self) -> Iterator[BlobWriter]:
        """A writer whose file is removed at the end unless ``commit`` was called on it."""
        directory = self.root / "blobs" / "sha256"
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".part-", dir=directory)
            try:
                with os.fdopen(descriptor, "wb", buffering=1 << 20) as out:
                    yield BlobWriter(out, Path(name))
            finally:
                Path(name).unlink(missing_ok=True)

    def commit(self, writer: BlobWriter) -> Stored:
        """Put a temporary blob in its place; call it inside its ``temporary_blob`` block."""
        path = self.blob_path(writer.digest)
        with disk_errors(path):
            writer.sync()
            writer.path.chmod(0o644)
            writer.path.replace(path)
        self.written += 1
        return Stored(digest=writer.digest, size=writer.size, path=path)

    def read_blob(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of a blob, verified; raises DamagedBlob at the end when they are not."""
        path, hasher = self.blob_path(digest), hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                hasher.update(chunk)
                yield chunk
        if hasher.hexdigest() != digest.hex:
            raise DamagedBlob(digest=digest, path=path)

    # records

    def record(self, kind: str, key: str) -> dict[str, Any] | None:
        """What a step with this key said it made, or None."""
        try:
            value = json.loads((self.root / "records" / kind / f"{key}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def put_record(self, kind: str, key: str, value: Mapping[str, object]) -> None:
        atomic_write(self.root / "records" / kind / f"{key}.json", readable_json(value))
        self.written += 1

    # directories

    def directory(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The directory for ``key``, made by ``make(path)`` where it is not there yet; one maker at a time."""
        path = self.root / "directories" / kind / key
        if path.is_dir():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{key}.lock")):
            if path.is_dir():
                return path
            with disk_errors(path):
                part = Path(tempfile.mkdtemp(prefix=".part-", dir=path.parent))
                try:
                    make(part)
                    part.chmod(0o755)
                    part.rename(path)
                    self.written += 1
                except BaseException:
                    remove_tree(part)
                    raise
        return path

    def has_directory(self, kind: str, key: str) -> bool:
        return (self.root / "directories" / kind / key).is_dir()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Only one process at a time is inside for a name."""
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    # housekeeping

    def usage(self) -> tuple[Usage, ...]:
        """What the store holds, one line a kind, largest first."""
        lines = []
        for family in ("blobs", "directories", "records", "images"):
            for kind in sorted((self.root / family).glob("*")):
                files = [path for path in kind.rglob("*") if path.is_file() and not path.is_symlink()]
                size = sum(path.stat().st_size for path in files if path.stat().st_nlink == 1 or family == "blobs")
                items = len(files) if family in ("blobs", "records") else sum(1 for d in kind.iterdir() if d.is_dir())
                lines.append(Usage(kind=f"{family}/{kind.name}", items=items, size=size))
        return tuple(sorted(lines, key=lambda line: -line.size))

    def remove_damaged(self) -> tuple[Digest, ...]:
        """Read every blob and remove those that no longer have their own digest; their digests."""
        damaged = []
        for path in sorted((self.root / "blobs" / "sha256").glob("[0-9a-f]*")):
            with path.open("rb") as stream:
                actual = Digest.of_chunks(iter(lambda: stream.read(1 << 20), b""))
            if actual.hex != path.name:
                path.unlink()
                damaged.append(Digest.from_hex(path.name))
        return tuple(damaged)

    def clear(self) -> int:
        """Remove everything; the bytes that were freed."""
        freed = sum(line.size for line in self.usage())
        for family in ("blobs", "directories", "records", "images"):
            remove_tree(self.root / family)
        return freed
