"""The directories of sandboxes in the cache. Each is locked (flock(2)) by who needs it: who made it, and its keeper.
One that nobody holds is of somebody who was killed, or of a service that has ended."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from builder.host.clock import Clock
from builder.host.fs import new_directory, remove_tree

_LOCK = "held"
_YOUNG_SECONDS = 60
"""Before a directory has its lock there is a moment in which it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scratch:
    """A directory of ours; ``held`` is the descriptor with its lock."""

    path: Path
    held: int

    @property
    def log(self) -> Path:
        return log_in(self.path)


def log_in(directory: Path) -> Path:
    return directory / "log"


def make_scratch(place: Path, stack: ExitStack) -> Scratch:
    """A new one below ``place``, which ``stack`` removes."""
    path = new_directory(place)
    stack.callback(remove_tree, path)
    new = path / f".{_LOCK}"
    held = os.open(new, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    stack.callback(os.close, held)
    fcntl.flock(held, fcntl.LOCK_EX)
    new.rename(path / _LOCK)  # never to be seen without its lock
    return Scratch(path=path, held=held)


def is_held(path: Path) -> bool:
    try:
        with (path / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sweep(place: Path, clock: Clock, spare: Callable[[Path], bool] = lambda _: False) -> None:
    """Remove what nobody holds and ``spare`` does not want to keep."""
    for left in place.glob("*"):
        with suppress(OSError):
            old = clock.now() - left.stat().st_mtime > _YOUNG_SECONDS
            if (old or (left / _LOCK).exists()) and not is_held(left) and not spare(left):
                remove_tree(left)
