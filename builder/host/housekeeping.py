"""Keeps a store within bounds: what it holds and when that was last used, what of it goes first, what the killed left.

Least recently used first; never what a living process may hold (``sessions``). The time of use is the time of access of
a blob, a record or a directory's seal, which the store sets itself whenever one is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.errors import MbuildError
from builder.host.clock import Clock
from builder.host.fs import remove_tree
from builder.host.seal import Seal, file_hash
from builder.host.sessions import forget, killed, living, removing
from builder.host.store import Store, read_record, seal_path
from builder.oci.layout import Layout

_ABANDONED_SECONDS = 24 * 3600
_LEFT_BEHIND = (
    ".part-*",
    "blobs/sha256/.part-*",
    "directories/*/.part-*",
    "records/*/.part-*",
    "images/*/.part-*",
    "directories/*/.*.seal.*",
    "records/*/.*.json.*",
    "partial/*",
    "tmp/*",
    "scratch/*",
)
"""Where things lie that are not whole yet; those of a process that was killed go at once, others after a day."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that can be taken away by itself: ``kind`` as in blobs/sha256; ``used`` when (since 1970), as the file
    ``mark`` says; its files as (inode, bytes)."""

    kind: str
    path: Path
    mark: Path
    used: float
    files: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """How much of the store one kind of thing takes: ``items``, and ``size`` in bytes."""

    kind: str
    items: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What a clean-up did: ``items`` removed and the bytes ``freed``, the ``size`` that is left, and what of it was not
    removed because a process at work may hold it (``held``, bytes)."""

    items: tuple[Item, ...]
    freed: int
    size: int
    held: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What ``runs`` that were killed had left: unfinished files and directories, and their bytes."""

    runs: int
    files: int
    size: int


def items(store: Store) -> tuple[Item, ...]:
    """Everything that can be removed, the least recently used first."""
    return tuple(sorted(_items(store.root), key=lambda item: (item.used, str(item.path))))


def usage(store: Store) -> tuple[Usage, ...]:
    """What the store holds, one line a kind, the largest first. A file with several names is counted with one."""
    lines: dict[str, tuple[int, int]] = {}
    counted: set[int] = set()
    for item in sorted(items(store), key=lambda item: item.kind):
        number, size = lines.get(item.kind, (0, 0))
        own = sum({inode: bytes_ for inode, bytes_ in item.files if inode not in counted}.values())
        counted.update(inode for inode, _ in item.files)
        lines[item.kind] = number + 1, size + own
    found = (Usage(kind=kind, items=number, size=size) for kind, (number, size) in lines.items())
    return tuple(sorted(found, key=lambda line: -line.size))


def plan_collection(store: Store, most: int) -> Collected:
    """What ``collect`` would do."""
    return _collected(store, most, lambda item: True)


def collect(store: Store, most: int) -> Collected:
    """Remove until at most ``most`` bytes are left, or only what may be in use."""
    return _collected(store, most, lambda item: _remove(item, store))


def _collected(store: Store, most: int, remove: Callable[[Item], bool]) -> Collected:
    others = [presence.began for presence in living(store.root) if presence.token != store.token]
    horizon = min(others, default=float("inf"))
    found = items(store)
    links, size = _links(found), _size(found)
    removed, held, freed = [], [], 0
    for item in found:
        if size - freed <= most:
            break
        in_use = item.used >= horizon or (item.kind == "uv" and bool(others))
        if in_use or not remove(item):
            held.append(item)
            continue
        removed.append(item)
        freed += _unlinked(item, links)
    return Collected(items=tuple(removed), freed=freed, size=size - freed, held=_size(held))


def sweep(store: Store, clock: Clock) -> Swept:
    """Remove what runs left that were killed, and whatever else lies unfinished for a day."""
    dead = killed(store.root)
    tokens = {presence.token for presence in dead}
    files = size = 0
    for pattern in _LEFT_BEHIND:
        for path in store.root.glob(pattern):
            ours = any(path.name.startswith(f".part-{token}-") for token in tokens)
            with suppress(OSError):
                if ours or clock.now() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                    files, size = files + ours, size + ours * sum(bytes_ for _, bytes_ in _files(path))
                    remove_tree(path)
    forget(store.root, dead)
    return Swept(runs=len(tokens), files=files, size=size)


def damaged(store: Store) -> Iterator[Path]:
    """Reads everything, and names what is not as it was made: blobs, directories, records, images that lack a blob.
    What is read so does not count as used."""
    for place in ("blobs/sha256", "images/*/*/blobs/sha256"):
        for path in sorted(store.root.glob(f"{place}/[0-9a-f]*")):
            if _unnoticed(path, file_hash) != path.name:
                yield path
    for path in sorted(store.root.glob("directories/*/[!.]*")):
        if path.is_dir():
            seal = _unnoticed(seal_path(path), Seal.read)
            if seal is None or not seal.verified(path):
                yield path
    for path in sorted(store.root.glob("records/*/[!.]*.json")):
        if _unnoticed(path, read_record) is None:
            yield path
    for path in sorted(store.root.glob("images/*/[!.]*")):
        if not _is_whole(Layout(path)):
            yield path


def remove_damaged(store: Store) -> tuple[Path, ...]:
    """Remove what ``damaged`` names; their paths. The next build makes it again."""
    removed = []
    for path in damaged(store):
        remove_tree(path)
        removed.append(path)
    return tuple(removed)


def _is_whole(layout: Layout) -> bool:
    try:
        for image in layout.images():
            manifest = layout.manifest(image)
            if any(layout.blob_path(blob.digest).stat().st_size != blob.size for blob in manifest.layers):
                return False
            layout.config(manifest)
    except (MbuildError, OSError):
        return False
    return True


def _unnoticed(path: Path, read: Callable[[Path], Result]) -> Result:
    """What reading a file gives, its time of use as it was."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return read(path)
    try:
        return read(path)
    finally:
        with suppress(OSError):
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _items(root: Path) -> Iterator[Item]:
    for path in (root / "blobs" / "sha256").glob("[0-9a-f]*"):
        yield from _item("blobs/sha256", path, (path,))
    for kind in (root / "directories").glob("*"):
        for path in kind.glob("[!.]*"):
            if path.is_dir():
                yield from _item(f"directories/{kind.name}", path, (path.with_name(f"{path.name}.seal"), path))
    for path in (root / "records").glob("*/[!.]*.json"):
        yield from _item(f"records/{path.parent.name}", path, (path,))
    for path in (root / "images").glob("*/*"):
        yield from _item("images", path, (path / "index.json", path))
    for path in (root / "partial").glob("[0-9a-f]*"):
        yield from _item("partial", path, (path,))
    if (root / "uv").is_dir():
        newest = max((root / "uv").iterdir(), key=lambda path: path.lstat().st_mtime, default=root / "uv")
        yield from _item("uv", root / "uv", (newest,))


def _item(kind: str, path: Path, marks: Iterable[Path]) -> Iterator[Item]:
    """The first mark that is there says when it was used."""
    mark = next((mark for mark in marks if mark.exists()), path)
    with suppress(FileNotFoundError):
        yield Item(kind=kind, path=path, mark=mark, used=_used(mark), files=tuple(_files(path)))


def _used(mark: Path) -> float:
    """Of a directory only the time of change counts: looking into it is no use of it."""
    status = mark.stat()
    return status.st_mtime if mark.is_dir() else max(status.st_atime, status.st_mtime)


def _files(path: Path) -> Iterator[tuple[int, int]]:
    """Inode and size of each file at or below a path; what goes meanwhile is left out."""
    if path.is_symlink() or not path.is_dir():
        status = path.lstat()
        yield status.st_ino, status.st_size
        return
    for directory, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                status = Path(directory, name).lstat()
                yield status.st_ino, status.st_size


def _links(found: Iterable[Item]) -> dict[int, int]:
    """How many of the names of each inode lie in the store: the bytes are free when the last is gone."""
    links: dict[int, int] = {}
    for item in found:
        for inode, _ in item.files:
            links[inode] = links.get(inode, 0) + 1
    return links


def _size(found: Iterable[Item]) -> int:
    return sum({inode: size for item in found for inode, size in item.files}.values())


def _unlinked(item: Item, links: dict[int, int]) -> int:
    freed = 0
    for inode, size in item.files:
        links[inode] -= 1
        freed += 0 if links[inode] else size
    return freed


def _remove(item: Item, store: Store) -> bool:
    """Take it away, unless somebody used it a moment ago. It leaves its place in one step, and its bytes after that."""
    with store.aside(item.path) as away, removing(store.root), suppress(FileNotFoundError):
        if _used(item.mark) > item.used:
            return False
        item.path.rename(away)
        if item.kind.startswith("directories/"):
            seal_path(item.path).unlink(missing_ok=True)
    return True
