"""A directory of model directories is one image: every model is proven and served, and has a layer of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import pytest

from builder.oci.platform import Platform
from builder.resources import schema_file
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.registries import SecuredRegistry
from tests.support.triton import PLATFORM

NAMES = ["diabetes", "digits", "wine"]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three formats."""
    for example in ("digits", "lightgbm", "xgboost"):
        shutil.copytree(ROOT / "examples" / example, tmp_path / "three" / example)
    return tmp_path / "three"


def change(models: Path) -> None:
    """Into something that no registry has."""
    file = models / "lightgbm" / "model.yaml"
    file.write_text(file.read_text() + f"description: Not {uuid4()}\n")


def layers(result: dict[str, Any]) -> dict[str, str]:
    return {",".join(layer["models"]) or layer["role"]: layer["digest"] for layer in result["layers"]}


def test_three_formats_in_one_image(mbuild: Mbuild, models: Path) -> None:
    result = mbuild.json(models, "--no-load")
    jsonschema.validate(result, json.loads(schema_file("result").read_bytes()))
    assert (result["name"], result["version"]) == ("three", "0.1.0")
    assert [(each["name"], each["format"]) for each in result["models"]] == list(
        zip(NAMES, ["lightgbm", "onnx", "xgboost"], strict=True)
    )
    assert list(layers(result)) == ["base", "runtime", "server", *NAMES]
    assert {case["model"] for case in result["test"]["cases"]} == set(NAMES)
    assert result["parity"] is None and all(each["parity"]["passed"] for each in result["models"])
    lock = json.loads((models / "mbuild.lock").read_text())
    (locked,) = lock["targets"].values()
    assert {name: each["digest"] for name, each in locked["models"].items()} == {
        each["name"]: each["digest"] for each in result["models"]
    }

    change(models)
    drifted = mbuild(models, "--locked", "--no-test", "--no-load")
    assert drifted.returncode == 7 and "models.diabetes.digest" in drifted.stderr
    again = mbuild.json(models, "--no-test", "--no-load")
    differing = {name for name, digest in layers(again).items() if digest != layers(result)[name]}
    assert differing == {"diabetes"}


def test_it_is_shown_before_it_is_built(mbuild: Mbuild, models: Path, tmp_path: Path) -> None:
    seen = mbuild.json("inspect", models)
    assert [(each["format"], Path(each["directory"]).name) for each in seen["models"]] == [
        ("onnx", "digits"),
        ("lightgbm", "lightgbm"),
        ("xgboost", "xgboost"),
    ]
    assert "holds 3 models for one image" in mbuild("inspect", models).stdout
    (models / "xgboost" / "model.yaml").write_text("name: wine\nnonsense: 1\n")
    broken = mbuild("inspect", models)
    assert broken.returncode == 3 and "this is about the model xgboost" in broken.stderr
    shutil.rmtree(models / "xgboost")
    assert mbuild("render", models, "-o", tmp_path / "context").returncode == 0
    assert (tmp_path / "context" / "model-02" / "models" / "digits" / "1" / "model.onnx").is_file()
    assert "its golden cases: diabetes" in (tmp_path / "context" / "Dockerfile").read_text()


@pytest.mark.skipif(Platform.of_this_machine() != PLATFORM, reason=f"Triton's wheel is for {PLATFORM}")
def test_triton_serves_them_all(mbuild: Mbuild, models: Path) -> None:
    result = mbuild.json(models, "--server", "triton", "--no-load")
    assert list(layers(result)) == ["base", "runtime", "server", *NAMES]
    assert {case["model"] for case in result["test"]["cases"]} == set(NAMES)


@pytest.mark.registry
def test_a_change_of_one_model_moves_its_layer_alone(
    mbuild: Mbuild, models: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    words = (models, "--push", "--no-test", "--no-load", "-t", str(registry.fresh("three")))
    mbuild.json(*words, **registry_environ)
    change(models)
    second = mbuild.json(*words, **registry_environ)
    sizes = {",".join(layer["models"]): layer["size"] for layer in second["layers"]}
    assert second["push"]["by_role"]["model"] == {
        "uploaded": sizes["diabetes"],
        "reused": sizes["digits"] + sizes["wine"],
    }
    assert set(second["push"]["by_role"]["runtime"]) == {"reused"}
