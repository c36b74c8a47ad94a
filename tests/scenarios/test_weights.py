"""Weights move once: into a registry without being written down, and again only where they changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.scenarios.conftest import Mbuild
from tests.support.models import save_layers
from tests.support.registries import SecuredRegistry

COUNT = 72
MEGABYTE = 1_000_000

Push = Callable[..., dict[str, Any]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_layers(tmp_path / "layers" / "model.onnx", COUNT)
    return tmp_path / "layers"


@pytest.fixture
def push(mbuild: Mbuild, model: Path, registry: SecuredRegistry, registry_environ: dict[str, str]) -> Push:
    """Push the model as it is now, untested: the test would unpack it."""
    reference = str(registry.fresh("layers"))

    def run(*words: str | Path) -> dict[str, Any]:
        command = (model, "-t", reference, "--push", "--modelpack", "--weights-image", "--no-test", "--no-load", *words)
        result = mbuild.json(*command, **registry_environ)
        assert sum(one["uploaded"] for one in result["push"]["attached"]) < MEGABYTE / 10
        return result

    return run


def layers(result: dict[str, Any], role: str = "weights") -> dict[str, int]:
    return {layer["digest"]: layer["size"] for layer in result["layers"] if layer["role"] == role}


def tensors(path: Path) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.registry
def test_only_what_changed_moves(
    push: Push, mbuild: Mbuild, model: Path, registry_environ: dict[str, str], tmp_path: Path
) -> None:
    first = push()
    weights = layers(first)
    assert len(weights) >= 2
    assert sum(weights.values()) >= COUNT << 20
    assert first["files"]["layout"] is None
    blobs = mbuild.cache / "blobs" / "sha256"
    assert not any((blobs / digest.removeprefix("sha256:")).exists() for digest in weights)

    written = push("-o", tmp_path / "layout")
    assert written["image"]["digest"] == first["image"]["digest"]
    assert written["push"]["uploaded"] == 0

    save_layers(model / "model.onnx", COUNT, tuned=COUNT - 1)
    tuned = push()
    (moved,) = layers(tuned).items() - weights.items()
    assert moved[1] <= tuned["push"]["uploaded"] <= moved[1] + MEGABYTE
    pinned = [one["image"]["reference"] for one in (first, tuned)]
    found = {one["role"]: one["parts"] for one in mbuild.json("diff", *pinned, **registry_environ)["layers"]}
    (group,) = found["weights"]
    assert group["after"] == moved[1]
    assert f"to layers.{COUNT - 1:03}.weight" in group["holds"]

    (model / "model.yaml").write_text("description: only words\nname: layers\n")
    described = push()
    assert described["push"]["uploaded"] < MEGABYTE
    assert layers(described) == layers(tuned)

    packed = described["push"]["attached"][0]["reference"]
    said = mbuild.json("inspect", packed, **registry_environ)
    assert [layer["digest"] for layer in said["layers"]] == [*layers(described, "model"), *layers(described)]
    assert said["modelpack"]["parameters"] == "18.9M"
    mbuild.json("pull", packed, "--model-only", "-o", tmp_path / "pulled", **registry_environ)
    numbers = [tensors(place) for place in (model / "model.onnx", tmp_path / "pulled/models/layers/1/model.onnx")]
    assert numbers[0].keys() == numbers[1].keys()
    assert all(np.array_equal(array, numbers[1][name]) for name, array in numbers[0].items())


def test_a_model_in_chunks_runs(mbuild: Mbuild, model: Path) -> None:
    result = mbuild.json(model, "--no-load")
    assert len(layers(result)) >= 2
    assert result["test"]["exit_code"] == 0
    assert len(result["test"]["cases"]) >= 3
