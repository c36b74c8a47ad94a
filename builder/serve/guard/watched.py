"""Files that may be replaced while the server runs: certificates that are renewed, keys that are rotated."""

from __future__ import annotations

from pathlib import Path

State = tuple[tuple[int, int, int] | None, ...]


class Watched:
    """Remembers what the files were like, by time, size and inode: Kubernetes replaces a mounted secret by a link."""

    def __init__(self, *names: str) -> None:
        self._paths = [Path(name) for name in names]
        self._seen = self._state()

    def changed(self) -> bool:
        """Whether they differ from the last time that this was asked."""
        now = self._state()
        before, self._seen = self._seen, now
        return now != before

    def _state(self) -> State:
        return tuple(map(_mark, self._paths))


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
