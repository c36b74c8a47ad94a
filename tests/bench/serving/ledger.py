"""What was measured, as JSON lines: a bench that was killed goes on where it stopped.

A file belongs to one state of the sources and one length of a load; another begins another file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder.resources import server_source_directory

Key = tuple[str | int, ...]
"""What it is, then of what: ("visit", round, model, server)."""


class Ledger:
    """Figures by key. A later line for a key replaces an earlier one; a problem is tried again the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[Key, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # empty, or being written when the bench was killed
                self.entries[tuple(said.pop("key"))] = said

    def __call__(self, key: Key, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of ``key``, measured now if nothing is."""
        if key not in self.entries or "problem" in self.entries[key]:
            self.entries[key] = measure()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write("\n" + json.dumps({"key": key, **self.entries[key]}))  # ends a line that was cut, too
        return self.entries[key]


def path_of(place: Path, seconds: int) -> Path:
    """The file for the sources as they are now."""
    state = hashlib.sha256(str(seconds).encode())
    for directory in (server_source_directory(), Path(__file__).parent):
        for source in sorted(directory.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                state.update(source.relative_to(directory).as_posix().encode() + b"\0" + source.read_bytes())
    return place / f"results-{state.hexdigest()[:12]}.jsonl"
