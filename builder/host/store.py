"""The content-addressed store in mbuild's cache directory.

Three kinds of thing, each put in its place by one rename, so that what is there was whole; and what was changed since
(a disk that fails, a hand that slips) counts as not there, and is made again:

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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from builder.canonical import content_key, readable_json
from builder.errors import IntegrityError
from builder.host.clock import SystemClock
from builder.host.fs import DiskFull, atomic_write, disk_errors, remove_tree
from builder.host.seal import Seal, file_hash, is_sealed, seal_blob
from builder.host.sessions import Session, looking
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest


class WrongDigest(IntegrityError):
    code = "wrong-digest"
    message = "{what} has the digest {actual}, not {expected}"
    hint = "the source changed or the transfer was damaged; run the command again, and if it stays so, lock anew"


class DamagedBlob(IntegrityError):
    code = "damaged-blob"
    message = "the blob {digest} in {path} no longer has its own digest"
    hint = "run `mbuild cache verify`, which removes what is damaged; the next build makes it again"


_FAMILIES = (
    "blobs",
    "directories",
    "records",
    "images",
    "uv",
    "locks",
    "partial",
    "probe",
    "scratch",
    "sessions",
    "tmp",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob in the store: its digest, size in bytes and path."""

    digest: Digest
    size: int
    path: Path


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

    def take_up(self) -> int:
        """Count and hash what the file already has; how many bytes that is."""
        self._out.seek(0)
        while chunk := self._out.read(1 << 20):
            self._hash.update(chunk)
            self.size += len(chunk)
        return self.size

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
        self._session: Session | None = None
        self.repaired: list[Path] = []
        """What this process found damaged, and what is therefore made again."""
        self.written = 0
        """How many things this process has put into the store: a step that puts nothing was cached."""

    @property
    def token(self) -> str:
        """This process's own, in the names of all that it has not finished. With the first use its session begins."""
        if self._session is None:
            self._session = Session(self.root)
        return self._session.token

    def _claim(self, mark: Path) -> bool:
        """Whether something is there by its mark; if so it counts as used now, and is not removed while we live."""
        if not mark.exists():
            return False
        with suppress(PermissionError):  # a cache of somebody else
            _ = self.token
            with looking(self.root):
                try:
                    os.utime(mark, ns=(int(SystemClock().now() * 1e9), mark.stat().st_mtime_ns))
                except FileNotFoundError:
                    return False
        return True

    @contextmanager
    def aside(self, path: Path) -> Iterator[Path]:
        """A name beside ``path`` to which it can be renamed; what has that name is gone afterwards."""
        away = path.with_name(f".part-{self.token}-{path.name}")
        try:
            yield away
        finally:
            remove_tree(away)

    # blobs

    def blob_path(self, digest: Digest) -> Path:
        return self.root / "blobs" / "sha256" / digest.hex

    def has_blob(self, digest: Digest) -> bool:
        """Whether it is there and whole: one that was written to since is read, and removed where it is damaged."""
        path = self.blob_path(digest)
        if not self._claim(path):
            return False
        try:
            if is_sealed(path):
                return True
            if file_hash(path) != digest.hex:
                path.unlink()
                self.repaired.append(path)
                return False
            with suppress(PermissionError):  # a cache of somebody else
                seal_blob(path)
        except FileNotFoundError:
            return False
        return True

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
            descriptor, name = tempfile.mkstemp(prefix=f".part-{self.token}-", dir=directory)
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
            seal_blob(writer.path)
            writer.path.replace(path)
        self.written += 1
        return Stored(digest=writer.digest, size=writer.size, path=path)

    def fetch_blob(self, blob: Descriptor, read: Callable[[int], Iterable[bytes]], *, what: str = "") -> None:
        """Have a blob (``what``, to people) that ``read`` gives from an offset on. What a broken try left is kept and
        gone on with, by one process at a time. Raises WrongDigest, and then keeps nothing, DiskFull, and what ``read``
        raises."""
        part = self.root / "partial" / blob.digest.hex
        _ = self.token
        with self.exclusive(f"blob-{blob.digest.hex}"):
            if self.has_blob(blob.digest):
                return
            try:
                with disk_errors(part):
                    actual = self._complete(part, blob, read)
                if actual != blob.digest:
                    raise WrongDigest(what=what or f"the blob {blob.digest}", actual=actual, expected=blob.digest)
            except (IntegrityError, DiskFull):
                part.unlink(missing_ok=True)
                raise

    def lacks(self, blob: Descriptor) -> int:
        """How many bytes ``fetch_blob`` would add for a blob that is not there."""
        try:
            return max(0, blob.size - (self.root / "partial" / blob.digest.hex).stat().st_size)
        except FileNotFoundError:
            return blob.size

    def _complete(self, part: Path, blob: Descriptor, read: Callable[[int], Iterable[bytes]]) -> Digest:
        """Add to a part what it lacks, and put it in its place if it is the blob then. Where it is not, and somebody
        else began it, it is made anew."""
        for directory in (part.parent, self.blob_path(blob.digest).parent):
            directory.mkdir(parents=True, exist_ok=True)
        with part.open("ab+", buffering=1 << 20) as out:
            self._claim(part)
            writer = BlobWriter(out, part)
            kept = writer.take_up()
            for chunk in read(kept) if kept <= blob.size else ():
                writer.write(chunk)
            if writer.digest == blob.digest:
                self.commit(writer)
                return blob.digest
        if not kept:
            return writer.digest
        part.unlink()
        return self._complete(part, blob, read)

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
        """What a step with this key said it made, or None; a damaged record is none."""
        path = self.root / "records" / kind / f"{key}.json"
        if not self._claim(path):
            return None
        found = read_record(path)
        if found is None:
            self.repaired.append(path)
        return found

    def put_record(self, kind: str, key: str, value: Mapping[str, object]) -> None:
        _ = self.token
        content = readable_json({"value": value, "digest": content_key(value)})
        atomic_write(self.root / "records" / kind / f"{key}.json", content)
        self.written += 1

    # directories

    def directory(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The directory for ``key``, made by ``make(path)`` where it is not there whole; one maker at a time."""
        path = self.root / "directories" / kind / key
        if self.has_directory(kind, key):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{key}.lock")):
            if self.has_directory(kind, key):
                return path
            if path.is_dir():
                self.repaired.append(path)
            with disk_errors(path):
                part = Path(tempfile.mkdtemp(prefix=f".part-{self.token}-", dir=path.parent))
                try:
                    make(part)
                    part.chmod(0o755)
                    atomic_write(seal_path(path), Seal.of(part).to_bytes())
                    remove_tree(path)
                    part.rename(path)
                    self.written += 1
                except BaseException:
                    remove_tree(part)
                    raise
        return path

    def has_directory(self, kind: str, key: str) -> bool:
        """Whether it is there, with every file as it was made."""
        path = self.root / "directories" / kind / key
        seal = Seal.read(seal_path(path)) if path.is_dir() and self._claim(seal_path(path)) else None
        return seal is not None and seal.holds(path)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Only one process at a time is inside for a name."""
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    # housekeeping

    def clear(self) -> None:
        """Remove everything."""
        for family in _FAMILIES:
            remove_tree(self.root / family)


def seal_path(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.seal")


def read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
        value: dict[str, Any] = record["value"]
        return value if content_key(value) == record["digest"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
