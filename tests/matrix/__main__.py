"""``make converters-matrix``: every kind of model that mbuild reads, built and tested, as one table.

For each: what it was detected as, whether the ONNX agrees with its framework and how closely, the batches that were
asked, whether the image answered the same over HTTP, the seconds of a first build with its environment installed, those
of a second one, which must convert nothing, beside the seconds of processors that it took (on a busy machine they tell
more), and how large the environment is. ``--only WORD`` takes the rows whose title has the word; ``--write FILE`` puts
each row as it comes between the ``matrix`` marks of that file, where rows that were not asked for stay: so a run that
was interrupted goes on where it stopped. The exit status is 1 where a row is not green.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cli.session import host_session
from builder.convert.envs import directory_bytes, ensure_environment, find_environment
from builder.host import Host
from builder.oci.layout import Layout
from builder.pipeline.inspect import inspect_model
from builder.probe.cases import carried_cases
from builder.probe.contents import read_contents
from tests.matrix.models import ROWS, Row, model_of

COMMAND = Path(sys.executable).parent / "mbuild"
BEGIN, END = "<!-- matrix: make converters-matrix -->\n", "<!-- /matrix -->\n"
COLUMNS = ("model", "detected", "and at", "max abs error", "batches", "over HTTP", "first", "second", "environment")


@dataclass(frozen=True)
class Line:
    """A row as it came out; ``problem`` is empty where all is well."""

    cells: tuple[str, ...]
    problem: str = ""


def run(row: Row, scratch: Path, host: Host) -> Line:
    """Build it twice. What goes wrong is the row's, and stops no other."""
    try:
        directory = model_of(row, scratch, host)
        seen = inspect_model(directory, "cpu", host)
        detected = seen.model.format if seen.model else str(seen.error)
        if detected != row.format:
            return Line((row.title, detected, *[""] * 7), f"{row.title}: detected as {detected}, not {row.format}")
        if seen.origin:
            ensure_environment(seen.origin.converter.environment, host)
        first, seconds, _ = build(directory)
        second, again, processors = build(directory, "--test-again")
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        return Line((row.title, "failed", *[""] * 7), f"{row.title}: {error}")
    size = "-"
    if seen.origin and (environment := find_environment(seen.origin.converter.environment, host)):
        size = f"{directory_bytes(environment) / 1e6:.0f} MB"
    error = max((tensor["max_absolute"] for tensor in tensors(first)), default=0.0)
    count = len(first["test"]["cases"])
    cells = (
        row.title,
        detected,
        f"{len(first['parity']['edges'])} edges",
        f"{error:.1e}",
        ", ".join(map(str, batches(first, host))),
        f"{count} case{'s' if count > 1 else ''} equal",
        f"{seconds:.1f} s",
        f"{again:.1f} s ({processors:.1f} s)",
        size,
    )
    done_again = [step["name"] for step in second["steps"] if not step["cached"] and step["name"] != "test"]
    return Line(cells, f"{row.title}: the second build did {', '.join(done_again)} again" if done_again else "")


def build(directory: Path, *more: str) -> tuple[dict[str, Any], float, float]:
    """The result, the seconds that it took, and those of processors."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [COMMAND, directory, "--no-load", "--format", "json", *more]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-2:])
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(json.loads(done.stdout)), seconds, processors


def tensors(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What was compared with the framework in the golden cases; for ONNX itself, with the golden outputs."""
    parity = result["parity"]
    for case in (parity["conversion"] or parity["golden"])["cases"]:
        yield from case["tensors"]


def batches(result: dict[str, Any], host: Host) -> list[int]:
    """The first dims that the source answered: of the golden cases in the image, and of the edges."""
    layout = Layout(Path(result["files"]["layout"]))
    contents = read_contents(layout, layout.manifest(layout.find()), host.store)
    arrays = (array for model in carried_cases(contents) for case in model.cases for array in case.inputs.values())
    edges = (edge["name"] for edge in result["parity"]["edges"] if edge["outcome"] == "equal")
    asked = {int(name.rpartition("-")[2]) for name in edges if name.startswith("edge-batch-")}
    return sorted(asked | {array.shape[0] for array in arrays if array.ndim})


def tabulated(lines: Iterable[Line]) -> str:
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(line.cells for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(file: Path, lines: list[Line]) -> None:
    """Put these rows between the marks, in the place of those with their titles; other rows stay."""
    head, rest = file.read_text().split(BEGIN)
    table, tail = rest.split(END)
    kept = [Line(tuple(row.strip("| ").split(" | "))) for row in table.splitlines()[2:]]
    by_title = {line.cells[0]: line for line in (*kept, *lines)}
    ordered = (by_title[row.title] for row in ROWS if row.title in by_title)
    file.write_text(head + BEGIN + tabulated(ordered) + END + tail)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", metavar="WORD")
    options.add_argument("--write", type=Path, metavar="FILE")
    chosen = options.parse_args()
    lines = []
    with tempfile.TemporaryDirectory(prefix="mbuild-matrix-") as scratch, host_session() as host:
        for row in ROWS:
            if chosen.only.lower() in row.title.lower():
                lines.append(run(row, Path(scratch), host))
                sys.stderr.write(f"{' | '.join(lines[-1].cells)}\n")
                if chosen.write:
                    write(chosen.write, lines)
    if not chosen.write:
        sys.stdout.write(tabulated(lines))
    problems = [line.problem for line in lines if line.problem]
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
