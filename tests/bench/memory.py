"""What memory a command and the processes that it starts have, while it runs.

``getrusage`` does not tell: it knows the largest child only, does not part what a process made from what it mapped of
files (and gives back when others need it), and counts no grandchild whose parent was killed before it waited.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_EVERY = 0.02


@dataclass(frozen=True)
class Memory:
    """The most at any time, in bytes: of the command itself (``own``, all that is resident), and of all that it
    started together, what they made (``workers``) and what they mapped of files (``mapped``)."""

    own: int = 0
    workers: int = 0
    mapped: int = 0

    def most(self, other: Memory) -> Memory:
        return Memory(max(self.own, other.own), max(self.workers, other.workers), max(self.mapped, other.mapped))


class MemoryWatch:
    """Looks at the children of this process, and at theirs, from ``with`` to the end of it: ``memory`` then."""

    def __init__(self) -> None:
        self.memory = Memory()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self.memory = self.memory.most(_now())


def _now() -> Memory:
    commands = children(os.getpid())
    started = [sizes(pid) for command in commands for pid in _below(command)]
    return Memory(
        own=max((sizes(command).get("VmHWM", 0) for command in commands), default=0),
        workers=sum(each.get("RssAnon", 0) for each in started),
        mapped=sum(each.get("RssFile", 0) for each in started),
    )


def _below(pid: int) -> list[int]:
    own = children(pid)
    return [*own, *(deeper for child in own for deeper in _below(child))]


def children(pid: int) -> list[int]:
    """proc(5), /proc/pid/task/tid/children: of each thread its own."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended meanwhile
    return found


def sizes(pid: int) -> dict[str, int]:
    """The lines of /proc/pid/status that are sizes, in bytes; none of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
