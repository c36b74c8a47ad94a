"""``make bench``: what mbuild costs, as ratios against a physical limit or a peer that is measured in the same run.

Prints Markdown. ``--write README.md`` puts the table between the ``figures`` marks of that file instead. ``--plot
FILE`` draws cost against size (0.25 to 16 GiB of weights, and as much again on the disk) and does nothing else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.fleet import fleet
from tests.bench.rows import ROOT, Mbuild, Row, seconds
from tests.bench.weights import moved, plot, weights
from tests.support.registries import SecuredRegistry

BEGIN, END = "<!-- figures: make bench -->\n", "<!-- /figures -->\n"


def sizes(result: dict[str, Any]) -> Iterator[Row]:
    layers = [layer for layer in result["layers"] if layer["role"] != "model"]
    compressed = sum(layer["size"] for layer in layers) / 1e6
    unpacked = sum(layer["unpacked_size"] for layer in layers) / 1e6
    yield Row("CPU image without the model, compressed", f"{compressed:.1f} MB", "bar: 45 MB")
    yield Row("CPU image without the model, on disk", f"{unpacked:.1f} MB", "bar: 130 MB")


def digits(place: Path, mbuild: Mbuild) -> Iterator[Row]:
    """The demo: from an empty cache, and again."""
    model = Path(shutil.copytree(ROOT / "examples" / "digits", place / "digits"))
    cold = seconds(lambda: mbuild.run(model), runs=1)
    again = seconds(lambda: mbuild.run(model))
    tested = seconds(lambda: mbuild.run(model, "--test-again"))
    yield from sizes(mbuild.run(model))
    yield Row("examples/digits, built and tested from an empty cache", f"{cold:.1f} s", "bar: 180 s")
    yield Row("the same again, and its test told", f"{again:.1f} s", f"bar: 2 s; {again / cold:.2f} of the first time")
    yield Row("the same again, and tested again", f"{tested:.1f} s", f"{tested / cold:.2f} of the first time")


def tabulated(rows: list[Row]) -> str:
    lines = ["| what | figure | against |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.what} | {row.figure} | {row.against} |" for row in rows)]) + "\n"


def measured(place: Path) -> list[Row]:
    mbuild = Mbuild(cache=place / "cache", environ={})
    rows = [*digits(place, mbuild), *weights(place, mbuild)]
    registry = SecuredRegistry.from_environ(os.environ)
    if registry is not None:
        rows += [*moved(place, mbuild, registry), *fleet(place, mbuild, registry)]
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", type=Path, metavar="FILE")
    options.add_argument("--plot", type=Path, metavar="FILE")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="mbuild-bench-") as directory:
        if chosen.plot:
            mbuild = Mbuild(cache=Path(directory) / "cache", environ={})
            mbuild.run(ROOT / "examples" / "digits", "--no-test", "--no-load")  # base and runtime
            plot(Path(directory), mbuild, chosen.plot)
            return
        table = tabulated(measured(Path(directory)))
    if chosen.write is None:
        sys.stdout.write(table)
        return
    text = chosen.write.read_text()
    head, rest = text.split(BEGIN)
    chosen.write.write_text(head + BEGIN + table + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
