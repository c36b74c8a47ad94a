"""Large models: into a layout, again, tuned, into a registry; and the cost against the size, as a plot."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.host.docker import connect
from tests.bench.memory import Memory
from tests.bench.rows import Cost, Mbuild, Row, cost, seconds
from tests.support.models import save_layers, save_products
from tests.support.registries import SecuredRegistry

TENSOR = 1 << 20
_SIZES = (256, 1024, 4096, 16384)
_BAR_MEMORY = 300
_HERE = ("--no-test", "--no-load")


def weights(place: Path, mbuild: Mbuild, megabytes: int = 2048) -> Iterator[Row]:
    """A model of ``megabytes``; base and runtime are in the cache before."""
    model = place / "large"
    save_layers(model / "model.onnx", megabytes, TENSOR)
    content = model / "weights.bin"
    program = seconds(lambda: subprocess.run(["sha256sum", content], check=True, capture_output=True), 1)
    hashing = seconds(lambda: hashlib.file_digest(content.open("rb"), "sha256"), 1)
    cold = cost(lambda: mbuild.run(model, *_HERE))
    warm = cost(lambda: mbuild.run(model, *_HERE))
    said = f"{cold.seconds / program:.2f} x `sha256sum`, {cold.seconds / hashing:.1f} x OpenSSL's SHA-256"
    yield Row(f"{megabytes >> 10} GiB of weights into an OCI layout", f"{cold.seconds:.1f} s", said)
    yield Row("the most memory meanwhile", f"{cold.memory.own / 1e6:.0f} MB", f"bar: 300 MB; {_workers(cold.memory)}")
    read = f"{warm.read / 1e6:.0f} MB read, Python and all; the weights are {megabytes * TENSOR / 1e6:.0f} MB"
    yield Row("the same again, nothing changed", f"{warm.seconds:.1f} s", read)
    yield from _docker(content, place, cold)
    shutil.rmtree(model)
    yield from _products(place, mbuild)


def _products(place: Path, mbuild: Mbuild, megabytes: int = 1024) -> Iterator[Row]:
    """A model that needs every weight for every answer, as onnxruntime likes to copy them: FP32 matrix products."""
    model = place / "products"
    save_products(model / "model.onnx", megabytes >> 2)
    taken = cost(lambda: mbuild.run(model, *_HERE)).memory
    name = f"the most memory, {megabytes >> 10} GiB of matrix products"
    yield Row(name, f"{taken.own / 1e6:.0f} MB", f"bar: 300 MB; {_workers(taken)}")
    shutil.rmtree(model)


def _workers(memory: Memory) -> str:
    """Of the processes that mbuild starts; what is mapped is the page cache's, which gives it back."""
    return f"who answers its cases {memory.workers / 1e6:.0f} MB, and {memory.mapped / 1e6:.0f} MB mapped"


def _docker(content: Path, place: Path, cold: Cost) -> Iterator[Row]:
    engine = connect()
    if engine is None:
        return
    context = place / "context"
    context.mkdir()
    os.link(content, context / "weights.bin")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY weights.bin /\n")
    peer = seconds(lambda: engine.build(context, "mbuild-bench:1"), runs=1)
    engine.remove_image("mbuild-bench:1")
    shutil.rmtree(context)
    yield Row("the same bytes through `docker build`", f"{peer:.1f} s", f"{peer / cold.seconds:.1f} x mbuild")


def moved(place: Path, mbuild: Mbuild, registry: SecuredRegistry, megabytes: int = 1024) -> Iterator[Row]:
    """Bytes that a push moves after a change."""
    model = place / "tuned"
    mbuild = replace(mbuild, environ={**mbuild.environ, **registry.environ})
    words = (model, "-t", str(registry.fresh("tuned")), "--push", *_HERE)
    save_layers(model / "model.onnx", megabytes, TENSOR)
    first = mbuild.run(*words)
    (model / "model.yaml").write_text("name: tuned\nserver: {queue: 100}\n")
    edited = cost(lambda: mbuild.run(*words))
    before = {layer["digest"] for layer in edited.result["layers"]}
    yield Row(
        f"another server setting for {megabytes >> 10} GiB, built and pushed",
        f"{edited.seconds:.1f} s",
        f"{edited.result['push']['uploaded'] / 1e3:.0f} kB moved",
    )
    save_layers(model / "model.onnx", megabytes, TENSOR, tuned=megabytes - 1)
    tuned = mbuild.run(*words)
    group = sum(each["size"] for each in tuned["layers"] if each["digest"] not in before and each["role"] == "weights")
    sent = tuned["push"]["uploaded"]
    yield Row(
        "its last tensor tuned, pushed", f"{sent / 1e6:.1f} MB moved", f"{sent / group:.3f} of the group of that tensor"
    )
    everything = first["push"]["uploaded"]
    base = sum(layer["size"] for layer in first["layers"] if layer["role"] != "weights")
    share = (everything - base) / (megabytes * TENSOR)
    yield Row("all of it, pushed the first time", f"{everything / 1e6:.0f} MB moved", f"{share:.4f} of its weights")
    shutil.rmtree(model)


def _forget(mbuild: Mbuild, result: Any) -> None:
    """Make room for the next one: the image and its weights, not base and runtime."""
    shutil.rmtree(result["files"]["layout"])
    for layer in result["layers"]:
        if layer["role"] == "weights":
            (mbuild.cache / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")).unlink()


def plot(place: Path, mbuild: Mbuild, path: Path) -> None:
    """Seconds and memory of a first build against the size of the model, as PNG, and ``sha256sum`` of its bytes."""
    sizes, hashed, costs = [], [], []
    for megabytes in _SIZES:
        model = place / f"sized-{megabytes}"
        save_layers(model / "model.onnx", megabytes, TENSOR)
        content = model / "weights.bin"
        hashed.append(
            seconds(lambda file=content: subprocess.run(["sha256sum", file], check=True, capture_output=True), 1)
        )
        costs.append(cost(lambda model=model: mbuild.run(model, *_HERE)))
        sizes.append(megabytes / 1024)
        shutil.rmtree(model)
        _forget(mbuild, costs[-1].result)
        print(f"{sizes[-1]:g} GiB: {costs[-1].seconds:.1f} s, sha256sum {hashed[-1]:.1f} s", file=sys.stderr)
    _draw(path, sizes, hashed, costs)


def _draw(path: Path, sizes: list[float], hashed: list[float], costs: list[Cost]) -> None:
    from matplotlib.figure import Figure  # late: only this needs it

    drawn = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    left.plot(sizes, [each.seconds for each in costs], "o-", color="#0060a0", label="mbuild, into an OCI layout")
    left.plot(sizes, hashed, "o--", color="#888888", label="sha256sum of the weights")
    left.set(title="first build, seconds", ylim=(0, None))
    left.legend(frameon=False)
    right.plot(sizes, [each.memory.own / 1e6 for each in costs], "o-", color="#0060a0", label="mbuild")
    right.plot(sizes, [each.memory.workers / 1e6 for each in costs], "o-", color="#c06000", label="its workers")
    right.legend(frameon=False)
    right.axhline(_BAR_MEMORY, linestyle="--", color="#888888")
    right.annotate("bar: 300 MB", (0, _BAR_MEMORY), xytext=(0, 4), textcoords="offset points", color="#666666")
    right.set(title="most memory, MB", ylim=(0, 350))
    for axes in (left, right):
        axes.set(xlabel="GiB of weights", xlim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eeeeee")
    drawn.savefig(path, dpi=120, metadata={"Software": None})
