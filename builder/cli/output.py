"""A result on stdout: for programs or for people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

from builder.canonical import readable_json
from builder.cli.options import OutputFormat


class Told(Protocol):
    """A result that a program can read."""

    def to_json(self) -> dict[str, object]: ...


def show(result: Told, output_format: OutputFormat, table: Callable[[], None]) -> None:
    """As JSON, or as what ``table`` prints."""
    if output_format is OutputFormat.JSON:
        sys.stdout.write(readable_json(result.to_json()).decode())
    else:
        table()
