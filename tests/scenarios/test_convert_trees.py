"""XGBoost, LightGBM and CatBoost: what is converted computes the same, missing values and all, and what the exporters
get wrong is refused in words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.convert.convert import BrokenSourceModel, ConversionFailed, convert
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.host import Host
from builder.model.generate import generate_cases
from builder.model.parity import ConversionDiffers
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPT = Path(__file__).parents[1] / "support" / "scripts" / "make_tree_models.py"
CLASSIFIER = ["label", "probabilities"]
CONVERTED = [
    ("xgboost", "binary_logistic", CLASSIFIER),
    ("xgboost", "multi_softprob", CLASSIFIER),
    ("xgboost", "multi_softmax", CLASSIFIER),
    ("xgboost", "early", CLASSIFIER),
    ("xgboost", "reg_squarederror", ["prediction"]),
    ("xgboost", "count_poisson", ["prediction"]),
    ("xgboost", "rank_ndcg", ["prediction"]),
    ("lightgbm", "binary", CLASSIFIER),
    ("lightgbm", "multiclass", CLASSIFIER),
    ("lightgbm", "dart", CLASSIFIER),
    ("lightgbm", "regression_l1", ["prediction"]),
    ("lightgbm", "poisson", ["prediction"]),
    ("lightgbm", "lambdarank", ["prediction"]),
    ("catboost", "Logloss", CLASSIFIER),
    ("catboost", "MultiClass", CLASSIFIER),
    ("catboost", "RMSE", ["prediction"]),
    ("catboost", "YetiRank", ["prediction"]),
]
REFUSED = [
    ("xgboost", "reg_logistic", "the objective reg:logistic has no ONNX form"),
    ("xgboost", "binary_hinge", "the objective binary:hinge has no ONNX form"),
    ("xgboost", "binary_logitraw", "the booster dart has no ONNX form"),
    ("lightgbm", "cross_entropy", "Unsupported LightGbm objective: 'cross_entropy'"),
    ("lightgbm", "multiclassova", "as if it were multiclass"),
    ("lightgbm", "sigmoid", "takes sigmoid as 1, the model has sigmoid:2"),
    ("lightgbm", "linear", "linear_tree"),
    ("lightgbm", "forest", "must average"),
    ("lightgbm", "zero", "zero as missing"),
    ("catboost", "MultiClassOneVsAll", "no right ONNX for the loss MultiClassOneVsAll"),
    ("catboost", "MultiRMSE", "no right ONNX for the loss MultiRMSE"),
    ("catboost", "CrossEntropy", "categorical features"),
]

Models = Callable[[str], Path]


@pytest.fixture(scope="module")
def models(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The directory with the models of a framework, made once in its own environment."""
    made: dict[str, Path] = {}

    def make(framework: str) -> Path:
        if framework not in made:
            made[framework] = tmp_path_factory.mktemp(framework)
            python = ensure_environment(CONVERTERS[framework].environment, host)
            subprocess.run([python, SCRIPT, framework, made[framework]], check=True, timeout=120, capture_output=True)
        return made[framework]

    return make


def loaded(directory: Path, host: Host) -> LoadedModel:
    return load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)


@pytest.mark.parametrize(("framework", "name", "outputs"), CONVERTED)
def test_it_computes_the_same(models: Models, host: Host, framework: str, name: str, outputs: list[str]) -> None:
    model = loaded(models(framework) / name, host)
    assert [(one.name, one.shape) for one in model.signature.inputs] == [("features", ("batch", 4))]
    assert [one.name for one in model.signature.outputs] == outputs
    missing = model.cases[0].inputs["features"]
    assert np.isnan(missing).any()
    more = generate_cases(model.signature, model.manifest)
    assert {case.inputs["features"].shape[0] for case in more} >= {1, 2, 7}
    answered, _ = answer(LoadedModel(**{**fields(model), "cases": (*model.cases, *more)}), host)
    assert all(set(case.outputs) == set(outputs) for case in answered)


def fields(model: LoadedModel) -> dict[str, object]:
    return {name: getattr(model, name) for name in model.__dataclass_fields__}


@pytest.mark.parametrize(("framework", "name", "words"), REFUSED)
def test_what_the_exporter_gets_wrong_is_refused(
    models: Models, host: Host, framework: str, name: str, words: str
) -> None:
    with pytest.raises(ConversionFailed, match=words) as caught:
        loaded(models(framework) / name, host)
    assert framework in str(caught.value).lower()
    assert "==" not in caught.value.advice
    assert "numpy 2" in caught.value.advice


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm", "catboost"])
def test_every_part_of_trees_is_asked_without_rows_of_the_users(
    models: Models, host: Host, tmp_path: Path, framework: str
) -> None:
    """The features of this one lie between 4000 and 6000: numbers about zero would all reach the same leaves."""
    directory = Path(shutil.copytree(models(framework) / "far", tmp_path / "far"))
    shutil.rmtree(directory / "golden")
    model = loaded(directory, host)
    assert {case.inputs["features"].shape[0] for case in model.cases} >= {1, 2, 7}
    cases, _ = answer(model, host)
    assert len(np.unique(np.concatenate([case.outputs["prediction"] for case in cases]))) > 12


def test_early_stopping_answers_as_the_classifier_did(models: Models, host: Host) -> None:
    cases, _ = answer(loaded(models("xgboost") / "early", host), host)
    np.testing.assert_allclose(cases[0].outputs["probabilities"], np.load(models("xgboost") / "early.npy"), atol=1e-6)


@pytest.mark.parametrize(
    ("framework", "name"), [("xgboost", "reg_squarederror"), ("lightgbm", "binary"), ("catboost", "RMSE")]
)
def test_a_file_that_was_cut_off(models: Models, host: Host, tmp_path: Path, framework: str, name: str) -> None:
    directory = Path(shutil.copytree(models(framework) / name, tmp_path / "cut"))
    file = next(path for path in directory.iterdir() if path.is_file())
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    with pytest.raises(BrokenSourceModel) as caught:
        loaded(directory, host)
    assert caught.value.exit_code == 4


def test_a_wrong_export_is_stopped_by_the_gate(
    models: Models, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter that gets one leaf wrong: exit 6, naming case and tensor."""
    import onnx

    directory = models("xgboost") / "reg_squarederror"
    found = find_model(directory)
    assert found.origin is not None
    graph = onnx.load(convert(found.origin, host) / "model.onnx")
    weights = next(a for n in graph.graph.node for a in n.attribute if a.name == "target_weights")
    weights.floats[:] = [value + 1 for value in weights.floats]
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    monkeypatch.setattr("builder.pipeline.converted.convert", lambda *_: tmp_path)
    with pytest.raises(ConversionDiffers, match=r"XGBoost computes: case missing, output 'prediction'") as caught:
        answer(loaded(directory, host), host)
    assert caught.value.exit_code == 6
