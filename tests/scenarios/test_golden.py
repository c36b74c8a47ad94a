"""Golden cases that are written down are those that a build packs."""

from __future__ import annotations

from pathlib import Path

from builder.model.golden import read_case
from tests.scenarios.conftest import Mbuild
from tests.support.models import save_mlp


def test_what_is_written_is_what_is_packed(mbuild: Mbuild, tmp_path: Path) -> None:
    model = tmp_path / "model"
    save_mlp(model / "model.onnx")
    made = mbuild.json(model, "--no-load", "--no-test")

    done = mbuild("golden", model)

    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.splitlines()]
    assert files
    assert all(read_case(file).outputs for file in files)
    given = mbuild.json(model, "--no-load", "--no-test")["parity"]
    assert {case["name"] for case in given["cases"]} == {case["name"] for case in made["parity"]["cases"]}
    assert all(case["given"] for case in given["cases"])
    again = mbuild("golden", model)
    assert again.returncode == 2
    assert "has golden cases of its own" in again.stderr
