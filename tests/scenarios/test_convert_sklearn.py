"""scikit-learn's files as it writes them: converted, equal to it at batch 1, 2 and 7, and refused for reasons."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from builder.convert.convert import BrokenSourceModel, ConversionFailed
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.formats.code import ModelRunsCode
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.plan.spec import ConvertOptions
from builder.targets import find_target
from tests.scenarios.conftest import Mbuild
from tests.unit.formats.test_pickles import global_of, text

pytestmark = pytest.mark.network

SCRIPT = Path(__file__).parents[1] / "support" / "scripts" / "make_sklearn_models.py"
TABLE = {"age", "income", "city", "plan"}


@pytest.fixture(scope="session")
def written(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directories that the script writes, with the scikit-learn of the converter."""
    place = tmp_path_factory.mktemp("sklearn")
    python = ensure_environment(CONVERTERS["sklearn"].environment, host)
    subprocess.run([str(python), "-s", str(SCRIPT), str(place)], check=True, timeout=300, capture_output=True)
    return place


def load(directory: Path, host: Host, allow_code: bool = False) -> LoadedModel:
    return load_model(
        find_model(directory, ConvertOptions(allow_code=allow_code)),
        find_target("cpu", Platform.of_this_machine()),
        host,
    )


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("mixed-forest", TABLE, ("label", "probabilities")),
        ("mixed-boosted", TABLE, ("label", "probabilities")),
        ("mixed-imputed", TABLE, ("label", "probabilities")),
        ("forest", {"features"}, ("label", "probabilities")),
        ("scaled-forest", {"features"}, ("prediction",)),
        ("histogram", {"features"}, ("label", "probabilities")),
        ("svc", {"features"}, ("label",)),
        ("linear-svc", {"features"}, ("label",)),
        ("kmeans", {"features"}, ("label",)),
        ("pca", {"features"}, ("transformed",)),
        ("text", {"text"}, ("label", "probabilities")),
        ("voting", {"features"}, ("label", "probabilities")),
        ("stacking", {"features"}, ("label", "probabilities")),
        ("searched", {"features"}, ("label", "probabilities")),
        ("outliers", {"features"}, ("label", "scores")),
    ],
)
def test_it_converts_and_agrees(
    written: Path, host: Host, name: str, inputs: set[str], outputs: tuple[str, ...]
) -> None:
    model = load(written / name, host)
    assert {tensor.name for tensor in model.signature.inputs} == inputs
    assert tuple(tensor.name for tensor in model.signature.outputs) == outputs
    assert all(tensor.shape[0] == "batch" for tensor in (*model.signature.inputs, *model.signature.outputs))
    cases, _ = answer(model, host)
    assert {len(next(iter(case.inputs.values()))) for case in cases} >= {1, 2, 7}
    assert all(len(case.outputs[outputs[0]]) == len(next(iter(case.inputs.values()))) for case in cases)


def test_the_cases_hold_what_the_model_knows(written: Path, host: Host) -> None:
    model = load(written / "mixed-forest", host)
    seen = {bytes(value) for case in model.cases for value in np.asarray(case.inputs["city"]).ravel()}
    assert seen <= {b"Paris", b"Oslo", b"Rome", b"mbuild-unknown"}
    assert len(seen) > 1


@pytest.mark.parametrize("name", ["far-scaled", "far-forest", "far-columns"])
def test_numbers_that_are_asked_are_like_those_of_the_training(written: Path, host: Host, name: str) -> None:
    """Its features lie between 4000 and 6000: numbers about zero would all have one answer."""
    model = load(written / name, host)
    cases, _ = answer(model, host)
    assert len(np.unique(np.concatenate([case.outputs["prediction"] for case in cases]))) > 8
    assert {edge.name for edge in model.edges} >= {"edge-zeros", "edge-extremes", "edge-missing"}


def test_a_function_of_the_users_own_is_refused_and_then_cannot_be_exported(written: Path, host: Host) -> None:
    with pytest.raises(ModelRunsCode, match=r"__main__\.twice"):
        load(written / "own-code", host)
    with pytest.raises((ConversionFailed, BrokenSourceModel), match="twice"):
        load(written / "own-code", host, allow_code=True)


def test_an_attack_runs_nothing_and_is_named(mbuild: Mbuild, written: Path, tmp_path: Path) -> None:
    canary, directory = tmp_path / "canary", tmp_path / "model"
    directory.mkdir()
    call = global_of("posix", "system") + text(f"touch {canary}"[:200]) + b"\x85R"
    estimator = global_of("sklearn.svm._classes", "SVC") + b")\x81"
    (directory / "model.pkl").write_bytes(b"\x80\x04" + estimator + call + b"\x86.")
    done = mbuild(directory, "--no-load")
    assert done.returncode == 4
    assert "posix.system" in done.stderr
    assert "--allow-code" in done.stderr
    assert not canary.exists()
