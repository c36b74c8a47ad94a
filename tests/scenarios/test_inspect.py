"""``mbuild inspect`` and ``mbuild converters``: what is seen is said, and the status is that of a build."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from builder.convert.converters import CONVERTERS
from tests.scenarios.conftest import ROOT, Mbuild

KNOWN = ROOT / "tests" / "support" / "known"


@pytest.fixture
def empty_cache(tmp_path: Path) -> Mbuild:
    return Mbuild(cache=tmp_path / "cache")


def holding(tmp_path: Path, *names: str) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    for name in names:
        shutil.copyfile(KNOWN / name, directory / name)
    return directory


def test_an_onnx_directory(empty_cache: Mbuild) -> None:
    seen = empty_cache.json("inspect", "examples/digits")
    assert (seen["format"], seen["model"], seen["manifest"]) == ("onnx", "model.onnx", "model.yaml")
    assert seen["signature"]["inputs"] == [{"name": "image", "datatype": "FP32", "shape": ["batch", 1, 8, 8]}]
    assert len(seen["golden"]) == 4
    assert seen["error"] is None
    assert seen["converter"] is None
    text = empty_cache("inspect", "examples/digits").stdout
    assert "image FP32 [batch, 1, 8, 8]" in text


def test_a_model_that_would_be_converted(empty_cache: Mbuild, tmp_path: Path) -> None:
    seen = empty_cache.json("inspect", holding(tmp_path, "booster.json"))
    assert seen["converter"]["framework"] == "XGBoost 3.2.0"
    assert seen["converter"]["requirements"] == list(CONVERTERS["xgboost"].environment.requirements)
    assert seen["converter"]["installed"] is False
    assert seen["seen"] == [
        {"file": "booster.json", "evidence": "this looks like an XGBoost model (JSON with learner)"}
    ]
    assert seen["signature"] is None
    assert not (empty_cache.cache / "directories" / "environments").exists(), "nothing was made"


def test_what_cannot_be_built_ends_as_the_build_would(empty_cache: Mbuild, tmp_path: Path) -> None:
    directory = holding(tmp_path, "booster.txt", "trees.cbm")
    done = empty_cache("inspect", directory, "--format", "json")
    told = json.loads(done.stdout)
    assert done.returncode == told["error"]["exit_code"] == empty_cache("plan", directory).returncode == 4
    assert told["error"]["code"] == "several-formats"
    assert "error (several-formats)" in done.stderr
    assert {line["file"] for line in told["seen"]} == {"booster.txt", "trees.cbm"}
    assert "ends with status 4" in empty_cache("inspect", directory).stdout


def test_converters_are_listed_and_named(empty_cache: Mbuild) -> None:
    listed = empty_cache.json("converters", "list")["environments"]
    assert {line["name"] for line in listed} >= {"xgboost", "lightgbm", "catboost", "onnx-reference"}
    assert not any(line["installed"] for line in listed)
    for words in (("install",), ("rm",)):
        assert empty_cache("converters", *words).returncode == 2
    wrong = empty_cache("converters", "install", "xgbost")
    assert wrong.returncode == 2
    assert "xgboost" in wrong.stderr


@pytest.mark.network
def test_an_environment_is_installed_and_removed(empty_cache: Mbuild) -> None:
    done = empty_cache("converters", "install", "onnx-reference")
    assert done.returncode == 0, done.stderr
    assert "packages" in done.stderr
    line = {one["name"]: one for one in empty_cache.json("converters", "list")["environments"]}["onnx-reference"]
    assert line["installed"]
    assert line["size"] > 50_000_000
    assert abs(line["size"] / line["expected"] - 1) < 0.3, "what the progress bar goes by"
    freed = empty_cache("converters", "rm", "onnx-reference")
    assert freed.returncode == 0, freed.stderr
    assert freed.stdout.startswith("freed ")
    assert not any(one["installed"] for one in empty_cache.json("converters", "list")["environments"])


def test_a_handler_is_shown_with_what_clients_send_and_get(mbuild: Mbuild) -> None:
    seen = mbuild.json("inspect", ROOT / "examples" / "handler")
    assert seen["handler"] == ["preprocess", "postprocess"]
    assert [tensor["name"] for tensor in seen["plain"]["inputs"]] == ["flower"]
    assert [tensor["name"] for tensor in seen["plain"]["outputs"]] == ["species", "probability"]
    assert seen["error"] is None
