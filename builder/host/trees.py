"""Staged trees: file entries together with where their bytes lie on this machine.

A tree on disk is a directory with ``tree.json`` (the entries) and ``files/<hex>`` (the bytes, each once, by digest).
Nothing in it depends on the file system: no modes, links or letter cases to lose, so any operating system can stage an
image for any other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from builder.canonical import canonical_json
from builder.host.fs import disk_errors, link_or_copy, temporary_directory
from builder.oci.content import Content, open_content
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry

_COPY_BYTES = 1 << 20
_LINK_FROM = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedTree:
    """``entries`` sorted by path, and for each digest among them where those bytes are."""

    entries: tuple[FileEntry, ...]
    files: Mapping[Digest, Content]

    def open(self, digest: Digest) -> IO[bytes]:
        return open_content(self.files[digest])

    def path(self, digest: Digest) -> Path:
        """The file with these bytes; KeyError where they lie in pieces of others."""
        content = self.files[digest]
        if not isinstance(content, Path):
            raise KeyError(digest)
        return content

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


def merged(trees: Iterable[StagedTree]) -> StagedTree:
    """One tree; a path of a later tree replaces that of an earlier one."""
    entries: dict[PurePosixPath, FileEntry] = {}
    files: dict[Digest, Content] = {}
    for tree in trees:
        entries |= {entry.path: entry for entry in tree.entries}
        files |= tree.files
    return StagedTree(entries=tuple(entries[path] for path in sorted(entries)), files=files)


class TreeWriter:
    """Collects entries and bytes into a directory; ``finish`` writes ``tree.json`` and returns the tree."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[Digest, Path] = {}
        self.entries: dict[PurePosixPath, FileEntry] = {}
        (directory / "files").mkdir(parents=True, exist_ok=True)

    def add_file(self, path: str | PurePosixPath, content: bytes, mode: int = 0o644) -> None:
        """Add a file with its parent directories; an entry that is there is replaced."""
        digest = Digest.of(content)
        destination = self._directory / "files" / digest.hex
        if digest not in self._files:
            destination.write_bytes(content)
            self._files[digest] = destination
        self._add(FileEntry(path=PurePosixPath(path), kind=EntryKind.FILE, mode=mode, digest=digest, size=len(content)))

    def add_chunks(self, path: str | PurePosixPath, chunks: Iterable[bytes], mode: int = 0o644) -> FileEntry:
        """Add a file of any size from its pieces; the entry that was made."""
        with temporary_directory(self._directory) as scratch:
            part = scratch / "part"
            with disk_errors(part), part.open("wb") as out:
                digest = Digest.of_chunks(chunk for chunk in chunks if out.write(chunk))
            destination = self._directory / "files" / digest.hex
            size = part.stat().st_size
            if digest not in self._files:
                self._files[digest] = part.replace(destination)
        entry = FileEntry(path=PurePosixPath(path), kind=EntryKind.FILE, mode=mode, digest=digest, size=size)
        self._add(entry)
        return entry

    def add_entry(self, entry: FileEntry) -> None:
        """Add a file whose bytes stay where they are: who loads the tree says where (``load_tree``)."""
        self._add(entry)

    def add_local_file(self, path: str | PurePosixPath, source: Path, mode: int = 0o644) -> None:
        """Add a file of this machine without reading it into memory. A large one is linked where possible; a small one
        is copied, since a link changes the times of the user's file, by which its digest is remembered."""
        digest = Digest.of_file(source)
        destination = self._directory / "files" / digest.hex
        if digest not in self._files:
            if destination.exists():
                pass
            elif source.stat().st_size >= _LINK_FROM:
                link_or_copy(source, destination)
            else:
                with disk_errors(destination):
                    shutil.copyfile(source, destination)
            self._files[digest] = destination
        size = destination.stat().st_size
        self._add(FileEntry(path=PurePosixPath(path), kind=EntryKind.FILE, mode=mode, digest=digest, size=size))

    def add_symlink(self, path: str | PurePosixPath, target: str) -> None:
        self._add(FileEntry.symlink(path, target))

    def add_directory(self, path: str | PurePosixPath, mode: int = 0o755) -> None:
        self._add(FileEntry.directory(path, mode))

    def remove(self, path: PurePosixPath) -> None:
        self.entries.pop(path, None)

    def read(self, path: str | PurePosixPath) -> bytes:
        """The bytes of a file that was added; KeyError where there is none."""
        digest = self.entries[PurePosixPath(path)].digest
        if digest is None:
            raise KeyError(path)
        return self._files[digest].read_bytes()

    def _add(self, entry: FileEntry) -> None:
        for parent in reversed(entry.path.parents):
            if parent != PurePosixPath("/") and parent not in self.entries:
                self.entries[parent] = FileEntry.directory(parent)
        self.entries[entry.path] = entry

    def finish(self) -> StagedTree:
        entries = tuple(self.entries[path] for path in sorted(self.entries))
        kept = {entry.digest for entry in entries if entry.digest}
        for digest in set(self._files) - kept:
            self._files.pop(digest).unlink()
        (self._directory / "tree.json").write_bytes(canonical_json([entry.to_json() for entry in entries]))
        return StagedTree(entries=entries, files=dict(self._files))


def load_tree(directory: Path, elsewhere: Callable[[FileEntry], Content | None] = lambda _: None) -> StagedTree:
    """The tree that ``TreeWriter`` left in ``directory``; ``elsewhere`` says where the bytes of an entry lie that are
    not there."""
    entries = tuple(FileEntry.from_json(value) for value in json.loads((directory / "tree.json").read_bytes()))
    files = {e.digest: elsewhere(e) or directory / "files" / e.digest.hex for e in entries if e.digest}
    return StagedTree(entries=entries, files=files)


def materialise(tree: StagedTree, destination: Path) -> None:
    """Lay the tree out as real files below ``destination`` (for running it here). Owners are not set; files are
    copies, so that what runs cannot reach the store. Modes are the entries', whatever the umask."""
    _make_directories(destination)
    for entry in tree.entries:
        path = destination / entry.path.relative_to("/")
        _make_directories(path.parent)
        if entry.kind is EntryKind.DIRECTORY:
            _make_directories(path)
        elif entry.kind is EntryKind.SYMLINK:
            path.symlink_to(entry.target)
        elif entry.digest:
            with tree.open(entry.digest) as source, path.open("wb") as out:
                shutil.copyfileobj(source, out, _COPY_BYTES)
            path.chmod(entry.mode)
    for entry in reversed(tree.entries):
        if entry.kind is EntryKind.DIRECTORY:
            (destination / entry.path.relative_to("/")).chmod(entry.mode)


def _make_directories(path: Path) -> None:
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir()
        path.chmod(0o755)
