"""Who is at work in a store: each process that uses it holds a lock on a file of its own, from first use to end.

A file that nobody holds is that of a process which was killed. What was used since the oldest living one began may be
in use; a lock around each look (shared) and each removal (exclusive) keeps the two from crossing.
"""

from __future__ import annotations

import fcntl
import os
import uuid
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Presence:
    """A process at work: the ``token`` in the names of its unfinished files, and when it ``began``, by the clock of the
    file system (seconds since 1970)."""

    token: str
    began: float


class Session:
    """This process in the store at ``root``. The file goes when the object does, at the latest with the process."""

    def __init__(self, root: Path) -> None:
        self.token = uuid.uuid4().hex[:16]
        directory = root / "sessions"
        directory.mkdir(parents=True, exist_ok=True)
        new, path = directory / f".{self.token}", directory / self.token
        held = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        fcntl.flock(held, fcntl.LOCK_EX)
        new.rename(path)  # never to be seen without its lock
        weakref.finalize(self, _leave, path, held)


def _leave(path: Path, held: int) -> None:
    with suppress(OSError):
        path.unlink()
    os.close(held)


def living(root: Path) -> tuple[Presence, ...]:
    return tuple(presence for presence, alive in _present(root) if alive)


def killed(root: Path) -> tuple[Presence, ...]:
    """Those who ended without leaving."""
    return tuple(presence for presence, alive in _present(root) if not alive)


def forget(root: Path, presences: Iterable[Presence]) -> None:
    """Once nothing of theirs is left: nobody else would know whose it was."""
    for presence in presences:
        (root / "sessions" / presence.token).unlink(missing_ok=True)


def _present(root: Path) -> Iterator[tuple[Presence, bool]]:
    for path in sorted((root / "sessions").glob("[0-9a-f]*")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            presence = Presence(path.name, path.stat().st_mtime)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield presence, True
            else:
                yield presence, False


@contextmanager
def looking(root: Path) -> Iterator[None]:
    """Nothing is removed meanwhile."""
    yield from _locked(root, fcntl.LOCK_SH)


@contextmanager
def removing(root: Path) -> Iterator[None]:
    """Nobody looks meanwhile."""
    yield from _locked(root, fcntl.LOCK_EX)


def _locked(root: Path, kind: int) -> Iterator[None]:
    directory = root / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "removing.lock").open("ab") as file:
        fcntl.flock(file, kind)
        yield
