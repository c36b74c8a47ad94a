"""Directories that MLflow wrote, converted and held against the framework inside; an attack in one is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from builder.convert.convert import convert
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.targets import find_target
from tests.scenarios.conftest import Mbuild
from tests.unit.formats.test_pickles import global_of, text

pytestmark = pytest.mark.network

SAVED = Path(__file__).parents[1] / "support" / "mlflow"
TABLE = {"age": ("FP64", ("batch", 1)), "city": ("BYTES", ("batch", 1)), "visits": ("INT64", ("batch", 1))}
MATRIX = {"features": ("FP32", ("batch", 4))}


def load(directory: Path, host: Host) -> LoadedModel:
    return load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("sklearn-skops", TABLE, ["label", "probabilities"]),
        ("sklearn-matrix", MATRIX, ["label", "probabilities"]),
        ("pytorch", {"input": ("FP32", ("batch", 4))}, ["output"]),
        ("torchscript", {"input": ("FP32", ("batch", 4))}, ["output"]),
        ("onnx", {"x": ("FP32", ("batch", 4))}, ["y"]),
        ("xgboost-xgb", MATRIX, ["label", "probabilities"]),
    ],
)
def test_it_converts_and_agrees(
    host: Host, name: str, inputs: dict[str, tuple[str, tuple[object, ...]]], outputs: list[str]
) -> None:
    model = load(SAVED / name, host)
    assert {spec.name: (str(spec.datatype), spec.shape) for spec in model.signature.inputs} == inputs
    assert [spec.name for spec in model.signature.outputs] == outputs
    examples = [case for case in model.cases if case.name == "input-example"]
    assert len(examples) == (0 if name == "xgboost-xgb" else 1)
    cases, report = answer(model, host)
    assert {len(next(iter(case.inputs.values()))) for case in cases} >= {1, 2, 7}
    assert all(set(case.outputs) == set(outputs) for case in cases)
    assert len(report.cases) == len(cases)


def test_the_example_of_a_table_has_its_own_values(host: Host) -> None:
    case = load(SAVED / "sklearn-pickle", host).cases[0]
    assert {bytes(city) for city in np.asarray(case.inputs["city"]).ravel()} <= {b"Paris", b"Rome"}
    assert case.inputs["visits"].dtype == np.int64


def test_the_same_model_gives_the_same_bytes(host: Host, tmp_path: Path) -> None:
    shutil.copytree(SAVED / "sklearn-skops", tmp_path / "again")
    (tmp_path / "again" / "notes.txt").write_text("another directory, another key")
    first, second = find_model(SAVED / "sklearn-skops").origin, find_model(tmp_path / "again").origin
    assert first is not None
    assert second is not None
    one, other = convert(first, host), convert(second, host)
    assert one != other
    assert (one / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()


def test_an_attack_runs_nothing_and_is_named(mbuild: Mbuild, tmp_path: Path) -> None:
    canary, directory = tmp_path / "canary", tmp_path / "model"
    shutil.copytree(SAVED / "sklearn-pickle", directory)
    call = global_of("posix", "system") + text(f"touch {canary}"[:200]) + b"\x85R"
    estimator = global_of("sklearn.svm._classes", "SVC") + b")\x81"
    (directory / "model.pkl").write_bytes(b"\x80\x04" + estimator + call + b"\x86.")
    done = mbuild(directory, "--no-load")
    assert done.returncode == 4
    assert "model.pkl would run code" in done.stderr
    assert "posix.system" in done.stderr
    assert not canary.exists()


def test_inspect_says_what_it_is(mbuild: Mbuild) -> None:
    seen = mbuild.json("inspect", SAVED / "sklearn-skops")
    assert (seen["format"], seen["wrapper"], seen["model"]) == ("sklearn", "mlflow", "model.skops")
    assert "MLmodel: an MLflow model of the flavour sklearn" in seen["evidence"]
