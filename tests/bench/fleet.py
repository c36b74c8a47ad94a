"""Thirty small models as a fleet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx

from tests.bench.rows import ROOT, Mbuild, Row, cost
from tests.support.registries import SecuredRegistry

_COUNT = 30


def fleet(place: Path, mbuild: Mbuild, registry: SecuredRegistry) -> Iterator[Row]:
    """The same network under thirty names, each with a weight of its own."""
    directories = []
    for number in range(_COUNT):
        directory = place / "fleet" / f"model-{number:02d}"
        shutil.copytree(ROOT / "examples" / "digits", directory, ignore=shutil.ignore_patterns("golden", "mbuild.lock"))
        (directory / "model.yaml").write_text(f"name: model-{number:02d}\n")
        model = onnx.load(directory / "model.onnx")
        weight = model.graph.initializer[0]
        weight.raw_data = bytes([number]) + weight.raw_data[1:]
        onnx.save(model, directory / "model.onnx")
        directories.append(directory)
    where = f"{registry.name}/{registry.fresh('fleet').repository}"
    mbuild = replace(mbuild, environ={**mbuild.environ, **registry.environ})
    words = ("build-all", *directories, "--registry", where, "--push")
    first, second = cost(lambda: mbuild.run(*words)), cost(lambda: mbuild.run(*words))
    assert all(outcome["unchanged"] for outcome in second.result)
    moved = sum(outcome["uploaded"] for outcome in first.result)
    shared = max(outcome["size"] for outcome in first.result)
    weights = sum((directory / "model.onnx").stat().st_size for directory in directories)
    yield Row(f"{_COUNT} small models, built, tested and pushed", f"{first.seconds:.0f} s", "")
    yield Row("the same again", f"{second.seconds:.1f} s", f"{second.seconds / first.seconds:.3f} of the first time")
    share = moved / (shared + weights)
    yield Row("all that was pushed", f"{moved / 1e6:.1f} MB", f"{share:.2f} of one image and the models")
