"""What a server logs, as a person or as a program reads it: JSON lines in short on a terminal, raw bytes elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from rich.console import Console
from rich.text import Text

_STYLES = {"debug": "dim", "warning": "yellow", "error": "bold red"}
_SAID = ("time", "level", "message")
_TIME = slice(11, 19)
"""Of 2026-11-22T09:00:00.000Z the time of day."""


def note(text: str) -> None:
    """Something of ours among what the server says."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def log_writer() -> Callable[[bytes], None]:
    """Takes what comes, in pieces of any size, and writes it to stderr."""
    if not sys.stderr.isatty():
        return _write_raw
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return Lines(lambda line: console.print(line_for_people(line))).write


def _write_raw(piece: bytes) -> None:
    sys.stderr.buffer.write(piece)
    sys.stderr.buffer.flush()


class Lines:
    """Passes whole lines on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""

    def write(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._say(line.decode(errors="replace"))


def line_for_people(line: str) -> Text:
    """Time, message and plain facts of an event; any other line as it is."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or "message" not in event:
        return Text(line)
    facts = [
        f"{key}={value}" for key, value in event.items() if key not in _SAID and not isinstance(value, list | dict)
    ]
    style = _STYLES.get(str(event.get("level")), "")
    time = str(event.get("time", ""))[_TIME]
    return Text.assemble((f"{time} ", "dim"), (str(event["message"]), style), (" ".join(["", *facts]), "dim"))
