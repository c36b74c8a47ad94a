"""Many models in one command: a failure stops nobody else, and a second run makes only what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.registries import SecuredRegistry


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    directories = []
    for name in ("one", "two"):
        directory = Path(shutil.copytree(ROOT / "examples" / "digits", tmp_path / name))
        (directory / "mbuild.lock").unlink(missing_ok=True)
        (directory / "model.yaml").write_text(f"name: {name}\n")
        directories.append(directory)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"no model")
    return [*directories, broken]


def outcomes(mbuild: Mbuild, environ: dict[str, str], *words: str | Path) -> dict[str, Any]:
    """By the names of the models, one of which fails."""
    run = mbuild("build-all", *words, "--format", "json", **environ)
    assert run.returncode == 4, run.stderr
    return {outcome["name"]: outcome for outcome in json.loads(run.stdout)}


@pytest.mark.registry
def test_a_fleet(
    mbuild: Mbuild, models: list[Path], registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    place = f"{registry.name}/{registry.fresh('fleet').repository}"
    words = (*models, "--registry", place, "--push", "--no-test")
    first = outcomes(mbuild, registry_environ, *words)
    assert first["broken"]["error"]["code"] == "broken-onnx"
    assert {first[name]["reference"].partition("@")[0] for name in ("one", "two")} == {f"{place}/one", f"{place}/two"}

    again = outcomes(mbuild, registry_environ, *words)
    assert {name: outcome["unchanged"] for name, outcome in again.items()} == {
        "one": True,
        "two": True,
        "broken": False,
    }
    assert again["one"]["digest"] == first["one"]["digest"]

    (models[1] / "model.yaml").write_text("name: two\nversion: 1.0.0\n")
    edited = outcomes(mbuild, registry_environ, *words)
    assert (edited["one"]["unchanged"], edited["two"]["unchanged"]) == (True, False)
    assert edited["two"]["digest"] != first["two"]["digest"]


def test_two_models_of_one_name_are_refused(mbuild: Mbuild, models: list[Path]) -> None:
    (models[1] / "model.yaml").write_text("name: one\n")
    run = mbuild("build-all", *models[:2])
    assert run.returncode == 2
    assert "are both called one" in run.stderr
