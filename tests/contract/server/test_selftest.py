"""The self-test: every golden case that the image carries, before the server is ready, or as a command of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.support.onnx_models import identity, place
from tests.support.servers import ask, run, running

MANIFEST = {"tolerance": {"absolute": 0.5, "relative": 0, "outputs": {}}}


def case(name: str, off: float = 0.0, rows: int = 2) -> GoldenCase:
    """``y`` is expected to be ``off`` from what the model answers."""
    array = np.arange(rows, dtype=np.float32)
    return GoldenCase(name=name, inputs={"x": array}, outputs={"y": array + np.float32(off)})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """One model that is right; its smallest case is the one that the warm-up takes."""
    folder = tmp_path / "models"
    place(folder, "good", identity("FP32", ("n",)), manifest=MANIFEST, cases=(case("near", 0.25), case("same", rows=9)))
    return folder


def wrong(models: Path) -> None:
    """A second model whose large cases are wrong, which no warm-up would find."""
    texts = np.array(["a", "é"], dtype=object)
    said = GoldenCase(name="said", inputs={"x": texts}, outputs={"y": texts})
    other = GoldenCase(name="said-otherwise", inputs={"x": np.tile(texts, 9)}, outputs={"y": np.tile(texts[::-1], 9)})
    place(models, "bad", identity("FP32", ("n",)), manifest=MANIFEST, cases=(case("tiny", rows=1), case("far", 1)))
    place(models, "text", identity("BYTES", ("n",)), manifest=MANIFEST, cases=(said, other))


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def test_the_table_says_what_was_asked_and_how_far_off_it_was(server_source: Path, models: Path) -> None:
    done = run(server_source, models, "selftest")
    assert (done.returncode, done.stderr) == (0, "")
    head, near, same = (line.split() for line in done.stdout.splitlines())
    assert head == ["MODEL", "CASE", "SECONDS", "MAX", "ABS", "MAX", "REL", "ALLOWED", "VERDICT"]
    assert (near[:2], near[3:]) == (["good", "near"], ["0.25", "1", "0.5", "+", "0", "rel", "right"])
    assert (same[:2], same[3:]) == (["good", "same"], ["0", "0", "0.5", "+", "0", "rel", "right"])


def test_each_case_that_is_wrong_is_one_sentence(server_source: Path, models: Path) -> None:
    wrong(models)
    done = run(server_source, models, "selftest")
    assert done.returncode == 1
    rows = [line.split() for line in done.stdout.splitlines()[1:7]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("bad", "far", "wrong"),
        ("bad", "tiny", "right"),
        ("good", "near", "right"),
        ("good", "same", "right"),
        ("text", "said", "right"),
        ("text", "said-otherwise", "wrong"),
    ]
    assert done.stdout.splitlines()[7:] == [
        "Golden case 'far' of model 'bad': output 'y' differs by more than absolute 0.5 and relative 0: "
        "at [0] 0.0 instead of 1.0, 2 elements out of tolerance.",
        "Golden case 'said-otherwise' of model 'text': output 'y' must be equal: "
        "at [0] a instead of é, 18 elements differ.",
    ]


def test_machines_get_the_same_as_json(server_source: Path, models: Path) -> None:
    right = run(server_source, models, "selftest", "--json")
    assert (right.returncode, told(right)["passed"], told(right)["problem"]) == (0, True, "")
    wrong(models)
    done = run(server_source, models, "selftest", "--json")
    assert done.returncode == 1
    value = told(done)
    assert (value["schema"], value["passed"], len(value["cases"])) == (1, False, 6)
    far = next(each for each in value["cases"] if each["case"] == "far")
    assert (far["model"], far["passed"], far["seconds"] > 0) == ("bad", False, True)
    (output,) = far["outputs"]
    assert output.pop("problem") and output == {
        "name": "y",
        "max_absolute": 1.0,
        "max_relative": 1.0,
        "allowed": {"absolute": 0.5, "relative": 0.0},
    }
    other = next(each for each in value["cases"] if each["case"] == "said-otherwise")
    assert other["outputs"][0]["max_absolute"] == "inf"


def test_nothing_to_ask_is_no_success(server_source: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = run(server_source, tmp_path / "none", "selftest")
    assert (empty.returncode, empty.stdout) == (1, "") and "There are no models in" in empty.stderr
    assert told(run(server_source, tmp_path / "none", "selftest", "--json"))["problem"].startswith("There are no")
    place(models, "silent", identity("FP32", ("n",)))
    done = run(server_source, models, "selftest")
    assert done.returncode == 1 and "Model 'silent' carries no golden case" in done.stdout
    (models / "silent" / "1" / "model.onnx").write_bytes(b"nothing")
    assert "Model 'silent' (" in run(server_source, models, "selftest").stderr
    assert run(server_source, models, "selftest", "--yaml").returncode == 2


def test_it_opens_no_port_and_does_not_ask_for_one(server_source: Path, models: Path) -> None:
    with running(server_source, models) as server:
        taken = str(server.ready().port)
        assert run(server_source, models, "selftest", MBUILD_PORT=taken).returncode == 0


def test_the_server_can_be_told_to_test_itself_before_it_is_ready(server_source: Path, models: Path) -> None:
    with running(server_source, models, MBUILD_SELFTEST="1") as server:
        line = server.ready().event("ready")
        assert line["selftest_cases"] == 2 and line["seconds_selftest"] >= 0
        assert ask(server.address, "GET", "/v2/health/ready").status == 200


def test_what_is_wrong_is_never_ready(server_source: Path, models: Path) -> None:
    wrong(models)
    with running(server_source, models) as server:
        server.ready()  # the warm-up alone finds nothing
    done = run(server_source, models, MBUILD_SELFTEST="1")
    assert done.returncode == 1
    listening, first, second, last = map(json.loads, done.stderr.splitlines())
    assert listening["message"] == "listening"
    assert first["message"].startswith("Golden case 'far' of model 'bad': output 'y' differs")
    assert (second["model"], second["case"]) == ("text", "said-otherwise")
    assert last["message"] == "The self-test (MBUILD_SELFTEST) failed: 2 of 6 golden cases."
