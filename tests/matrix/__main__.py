"""``make converters-matrix``: every kind of model that mbuild reads, built and tested, as one table.

For each: what it was detected as, whether the ONNX agrees with its framework and how closely, the batches that were
asked, whether the image answered the same over HTTP, the seconds of a first build with its environment installed, those
of a second one, and how large the environment is. ``--only WORD`` takes the rows whose title has the word; ``--write
FILE`` puts the table between the ``matrix`` marks of that file. The exit status is 1 where a row is not green.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.cli.session import host_session
from builder.convert.envs import directory_bytes, find_environment
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
        first, seconds = build(directory)
        _, again = build(directory)
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        return Line((row.title, "failed", *[""] * 7), f"{row.title}: {error}")
    size = "-"
    if seen.origin and (environment := find_environment(seen.origin.converter.environment, host)):
        size = f"{directory_bytes(environment) / 1e6:.0f} MB"
    error = max((tensor["max_absolute"] for tensor in tensors(first)), default=0.0)
    cells = (
        row.title,
        detected,
        f"{len(first['parity']['edges'])} edges",
        f"{error:.1e}",
        ", ".join(map(str, batches(first, host))),
        f"{len(first['test']['cases'])} cases equal",
        f"{seconds:.1f} s",
        f"{again:.1f} s",
        size,
    )
    return Line(cells, "" if again < SECOND else f"{row.title}: the second build took {again:.1f} s")


SECOND = 10.0
"""Seconds: far beyond any build that converts nothing, and what one that converts again could not reach."""


def build(directory: Path) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    command = [COMMAND, directory, "--no-load", "--format", "json"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-2:])
    return dict(json.loads(done.stdout)), time.perf_counter() - began


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


def tabulated(lines: list[Line]) -> str:
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(line.cells for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


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
    table = tabulated(lines)
    if chosen.write:
        head, rest = chosen.write.read_text().split(BEGIN)
        chosen.write.write_text(head + BEGIN + table + END + rest.split(END)[1])
    else:
        sys.stdout.write(table)
    problems = [line.problem for line in lines if line.problem]
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
