"""``make bench``: what mbuild costs, as ratios against a physical limit or a peer that is measured in the same run.

Prints Markdown. ``--write README.md`` puts the table between the ``figures`` marks of that file instead.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.host.docker import connect
from tests.support.models import save_large

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "mbuild"
WEIGHTS = 512 << 20
RUNS = 3
BEGIN, END = "<!-- figures: make bench -->\n", "<!-- /figures -->\n"


@dataclass(frozen=True)
class Row:
    """One line of the table: what, the figure, and against what."""

    what: str
    figure: str
    against: str


def mbuild(cache: Path, *words: str | Path) -> dict[str, Any]:
    command = [str(COMMAND), *map(str, words), "--format", "json"]
    done = subprocess.run(command, env={**os.environ, "MBUILD_CACHE": str(cache)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def seconds(action: Callable[[], object], runs: int = RUNS) -> float:
    """The median wall time."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def sizes(result: dict[str, Any]) -> Iterator[Row]:
    layers = [layer for layer in result["layers"] if layer["role"] != "model"]
    compressed = sum(layer["size"] for layer in layers) / 1e6
    unpacked = sum(layer["unpacked_size"] for layer in layers) / 1e6
    yield Row("CPU image without the model, compressed", f"{compressed:.1f} MB", "bar: 45 MB")
    yield Row("CPU image without the model, on disk", f"{unpacked:.1f} MB", "bar: 130 MB")


def digits(place: Path) -> Iterator[Row]:
    """The demo: from an empty cache, and again."""
    model = Path(shutil.copytree(ROOT / "examples" / "digits", place / "digits"))
    cache = place / "cache"
    cold = seconds(lambda: mbuild(cache, model), runs=1)
    warm = seconds(lambda: mbuild(cache, model))
    yield from sizes(mbuild(cache, model))
    yield Row("examples/digits, built and tested from an empty cache", f"{cold:.1f} s", "bar: 180 s")
    yield Row("examples/digits, built and tested again", f"{warm:.1f} s", f"{warm / cold:.2f} of the first time")


def weights(place: Path) -> Iterator[Row]:
    """A model of half a gigabyte, against one SHA-256 of the same bytes and against `docker build`."""
    model, cache = place / "large", place / "cache"
    save_large(model / "model.onnx", WEIGHTS, seed=os.getpid())  # never in the engine's cache
    content = next(model.glob("*.bin"))
    hashing = seconds(lambda: hashlib.file_digest(content.open("rb"), "sha256"))
    words = (model, "--no-test", "--no-load")
    cold = next(step for step in mbuild(cache, *words)["steps"] if step["name"] == "assemble")["seconds"]
    warm = seconds(lambda: mbuild(cache, *words), runs=1)
    yield Row(
        f"{WEIGHTS >> 20} MiB of weights into an OCI layout", f"{cold:.1f} s", f"{cold / hashing:.1f} x one SHA-256"
    )
    yield Row("the same again, nothing changed", f"{warm:.1f} s", f"{warm / hashing:.1f} x one SHA-256")
    if engine := connect():
        context = place / "context"
        context.mkdir()
        shutil.copy(content, context / "weights.bin")
        (context / "Dockerfile").write_text("FROM scratch\nCOPY weights.bin /\n")
        peer = seconds(lambda: engine.build(context, "mbuild-bench:1"), runs=1)
        engine.remove_image("mbuild-bench:1")
        yield Row(
            "the same bytes through `docker build`", f"{peer:.1f} s", f"{peer / cold:.1f} x mbuild's assemble step"
        )


def tabulated(rows: list[Row]) -> str:
    lines = ["| what | figure | against |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {row.what} | {row.figure} | {row.against} |" for row in rows)]) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", type=Path, metavar="FILE")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="mbuild-bench-") as directory:
        table = tabulated([*digits(Path(directory)), *weights(Path(directory))])
    if chosen.write is None:
        sys.stdout.write(table)
        return
    text = chosen.write.read_text()
    head, rest = text.split(BEGIN)
    chosen.write.write_text(head + BEGIN + table + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
