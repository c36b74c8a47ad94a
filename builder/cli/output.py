"""A result on stdout, for programs or for people, and in the files that options name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from builder.canonical import readable_json
from builder.cli.options import OutputFormat
from builder.cli.summary import failure_summary, summary
from builder.errors import MbuildError, UsageError
from builder.host.fs import atomic_write, disk_errors, why_not_writable


class FileNotWritable(UsageError):
    code = "file-not-writable"
    message = "{option} cannot write {path}: {reason}"
    hint = "name a file in a directory that can be written"


class Told(Protocol):
    """A result that a program can read."""

    def to_json(self) -> dict[str, object]: ...


def show(result: Told, output_format: OutputFormat, table: Callable[[], None]) -> None:
    """As JSON, or as what ``table`` prints."""
    if output_format is OutputFormat.JSON:
        sys.stdout.write(readable_json(result.to_json()).decode())
    else:
        table()


Keep = Callable[[Any], None]


@contextmanager
def kept(
    report: Path | None, summarized: Path | None, name: str, page: Callable[[Any], str] = summary
) -> Iterator[Keep]:
    """Gives what keeps a JSON result: ``report`` as it is, ``summarized`` as a ``page`` below what it has. An error is
    summarized, too; ``name`` is what was to be built. Raises FileNotWritable."""
    for option, path in (("--report", report), ("--summary", summarized)):
        if path and (reason := "it is a directory" if path.is_dir() else why_not_writable(path.parent)):
            raise FileNotWritable(option=option, path=path, reason=reason)

    def keep(result: Any) -> None:
        if report:
            atomic_write(report, readable_json(result))
        if summarized:
            _append(summarized, page(result))

    try:
        yield keep
    except MbuildError as error:
        if summarized:
            _append(summarized, failure_summary(name, error))
        raise


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path), path.open("a", encoding="utf-8") as out:
        out.write(text)
