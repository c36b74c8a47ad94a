"""The one door for temporary files, and the only way a file of ours is put in its place: whole, or not at all."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from builder.errors import AssemblyError


class DiskFull(AssemblyError):
    code = "disk-full"
    message = "no space left on the device that holds {path}"
    hint = (
        "free some space (`mbuild cache gc --max-size 20GB` removes what was used longest ago), or put the cache "
        "elsewhere with MBUILD_CACHE; nothing half-written was kept"
    )


class NotEnoughRoom(DiskFull):
    code = "not-enough-room"
    message = "{needed:.2f} GB are needed in {path} for {what}, and {free:.2f} GB are free"


_IN_MEMORY = 32 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns ENOSPC, EDQUOT and EFBIG (a limit on the size of files) into DiskFull for writes below ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(path=path) from error
        raise


def require_room(path: Path, needed: int, what: str) -> None:
    """Raises NotEnoughRoom where ``needed`` bytes below ``path`` (which may be missing) cannot be, before the first is
    written. A quota does not show here; whoever writes still meets DiskFull."""
    place = _nearest(path)
    status = os.statvfs(place)
    free = status.f_frsize * (status.f_bavail if os.geteuid() else status.f_bfree)
    if needed > free:
        raise NotEnoughRoom(what=what, needed=needed / 1e9, path=path, free=free / 1e9)


def on_one_device(one: Path, other: Path) -> bool:
    """Whether a file of the one can be a hard link in the other; both may be missing."""
    return _nearest(one).stat().st_dev == _nearest(other).stat().st_dev


def _nearest(path: Path) -> Path:
    """The path, or what is there above it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def atomic_write(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` by writing beside it, fsync and rename. Raises DiskFull."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def new_directory(parent: Path | None = None, *, prefix: str = "mbuild-") -> Path:
    """An empty directory of a name of its own, which the caller removes. ``parent`` is made where it is missing."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


@contextmanager
def temporary_directory(parent: Path | None = None, *, prefix: str = "mbuild-") -> Iterator[Path]:
    """A directory that is gone afterwards, read-only files and all. ``parent`` is made where it is missing."""
    path = new_directory(parent, prefix=prefix)
    try:
        yield path
    finally:
        try:
            remove_tree(path)
        except KeyboardInterrupt:  # Ctrl-C while it goes: it goes all the same
            remove_tree(path)
            raise


@contextmanager
def seekable(chunks: Iterable[bytes], size: int, directory: Path) -> Iterator[IO[bytes]]:
    """A file of ``size`` bytes from its pieces, to be read in any order: a large one lies in ``directory``, without a
    name, so that nothing is left of it whatever happens. Raises DiskFull."""
    if size <= _IN_MEMORY:
        yield io.BytesIO(b"".join(chunks))
        return
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        with disk_errors(directory):
            for chunk in chunks:
                file.write(chunk)
            file.seek(0)
        yield file


def remove_tree(path: Path) -> None:
    """Remove a file or directory, also where it is read-only; nothing there is fine."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        mode = os.lstat(directory).st_mode
        if not mode & stat.S_IWUSR:
            Path(directory).chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=False) if path.exists() else None


def try_writing(directory: Path) -> None:
    """Make the directory where it is missing, and a file in it that is gone at once. Raises OSError or DiskFull."""
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as out:
            out.write(b"\0")


def why_not_writable(directory: Path) -> str:
    """Why no file can be put into the directory, which may be missing; empty where one can. Changes nothing."""
    place = _nearest(directory)
    if not place.is_dir():
        return f"{place} is a file"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written"


def link_or_copy(source: Path, destination: Path) -> None:
    """A hard link where the file systems allow it, else a copy. Raises DiskFull."""
    with disk_errors(destination):
        try:
            os.link(source, destination)
        except OSError as error:
            if error.errno in _FULL:
                raise
            shutil.copyfile(source, destination)
