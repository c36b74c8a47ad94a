"""Directories that MLflow 3.17 wrote (tests/support/mlflow), and what users do to them."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import pytest

from builder.formats import ModelFileMissing, SeveralModels, WrappedModelNotRead, detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.mlmodel import MlmodelInvalid
from builder.model.manifest import read_manifest
from builder.model.source import Detection, list_model
from tests.support.models import save_mlp

SAVED = Path(__file__).parents[2] / "support" / "mlflow"


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


def copied(name: str, place: Path) -> Path:
    return Path(shutil.copytree(SAVED / name, place))


@pytest.mark.parametrize(
    ("name", "format_", "entry", "versions"),
    [
        ("sklearn-skops", "sklearn", "model.skops", {"scikit-learn": "1.9.1"}),
        ("sklearn-pickle", "sklearn", "model.pkl", {"scikit-learn": "1.9.1"}),
        ("sklearn-cloudpickle", "sklearn", "model.pkl", {"scikit-learn": "1.9.1"}),
        ("pytorch", "torch-export", "data/model.pt2", {"torch": "2.13.0"}),
        ("torchscript", "torchscript", "data/model.pth", {"torch": "2.13.0"}),
        ("onnx", "onnx", "model.onnx", {"onnx": "1.23.2"}),
        ("xgboost", "xgboost", "model.ubj", {"xgboost": "3.2.0"}),
        ("xgboost-xgb", "xgboost", "model.xgb", {"xgboost": "3.2.0"}),
        ("lightgbm", "lightgbm", "model.lgb", {"lightgbm": "4.7.0"}),
        ("catboost", "catboost", "model.cb", {"catboost": "1.2.10"}),
        ("keras", "keras", "data/model.keras", {"keras": "3.15.1"}),
        ("tensorflow-keras", "keras", "data/model.keras", {"tensorflow": "2.21.0", "keras": "3.15.1"}),
        ("tensorflow-module", "tensorflow", "tf2model/saved_model.pb", {}),
    ],
)
def test_the_model_inside_is_found(name: str, format_: str, entry: str, versions: dict[str, str]) -> None:
    model = found(SAVED / name)
    assert (model.format, str(model.entry), model.wrapper) == (format_, entry, "mlflow")
    assert dict(model.versions) == versions
    assert {PurePosixPath(entry), PurePosixPath("MLmodel"), PurePosixPath("conda.yaml")} <= model.covers
    without = name in ("xgboost-xgb", "keras", "tensorflow-module")
    assert model.example == (None if without else PurePosixPath("input_example.json"))
    assert any("MLmodel: an MLflow model of the flavour" in text for text in model.evidence)


def test_the_signature_becomes_inputs_where_the_model_has_none_of_its_own() -> None:
    columns = [(spec.name, spec.datatype, spec.shape) for spec in found(SAVED / "sklearn-skops").inputs]
    assert columns == [
        ("age", "FP64", ("batch", 1)),
        ("city", "BYTES", ("batch", 1)),
        ("visits", "INT64", ("batch", 1)),
    ]
    matrix = [(spec.name, spec.datatype, spec.shape) for spec in found(SAVED / "sklearn-matrix").inputs]
    assert matrix == [("features", "FP32", ("batch", 4))]
    script = [(spec.name, spec.datatype, spec.shape) for spec in found(SAVED / "torchscript").inputs]
    assert script == [("input", "FP32", ("batch", 4))]
    assert found(SAVED / "xgboost").inputs == ()
    assert found(SAVED / "onnx").outputs == ("y",)


def test_a_table_for_pytorch_is_one_matrix(tmp_path: Path) -> None:
    directory = copied("torchscript", tmp_path / "model")
    text = (directory / "MLmodel").read_text()
    start, end = text.index("  inputs:"), text.index("  outputs:")
    columns = """  inputs: '[{"type": "double", "name": "a"}, {"type": "long", "name": "b"}]'\n"""
    (directory / "MLmodel").write_text(text[:start] + columns + text[end:])
    assert [(spec.name, spec.datatype, spec.shape) for spec in found(directory).inputs] == [
        ("input", "FP32", ("batch", 2))
    ]


def test_it_may_lie_below_and_beside_what_mbuild_reads(tmp_path: Path) -> None:
    copied("sklearn-pickle", tmp_path / "runs" / "model")
    (tmp_path / "model.yaml").write_text("name: people\nformat: mlflow\n")
    model = found(tmp_path)
    assert (str(model.entry), str(model.example)) == ("runs/model/model.pkl", "runs/model/input_example.json")
    assert PurePosixPath("model.yaml") not in model.covers


def test_two_of_them_need_a_word(tmp_path: Path) -> None:
    for name in ("a", "b"):
        copied("onnx", tmp_path / name)
    with pytest.raises(SeveralModels, match=r"a/model\.onnx\n  b/model\.onnx"):
        found(tmp_path)
    (tmp_path / "model.yaml").write_text("file: b/model.onnx\n")
    assert found(tmp_path).wrapper == "mlflow"
    (tmp_path / "model.yaml").write_text("file: c/model.onnx\n")
    with pytest.raises(ModelFileMissing):
        found(tmp_path)


@pytest.mark.parametrize(
    ("flavours", "words", "advice"),
    [
        (
            "{python_function: {loader_module: mlflow.pyfunc.model}}",
            "only flavour is python_function",
            "flavour of its own",
        ),
        (
            "{python_function: {loader_module: mlflow.spark}, spark: {model_data: sparkml}}",
            "the flavour spark",
            "convert_sparkml",
        ),
        ("{h2o: {data: model.h2o}}", "the flavour h2o; the flavours that are read are catboost", "MOJO"),
        ("{fastai: {data: model}}", "the flavour fastai", "export it to ONNX"),
        ("{sklearn: {pickled_model: model.pkl}}", r"model\.pkl is not in the directory", "whole directory"),
        ("{sklearn: {pickled_model: ../model.pkl}}", r"\.\./model\.pkl is not in the directory", "whole directory"),
        ("{onnx: {data: notes.txt}}", r"notes\.txt is of no format", "mlflow.onnx"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, flavours: str, words: str, advice: str) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors: {flavours}\n")
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(WrappedModelNotRead, match=words) as caught:
        found(tmp_path)
    assert advice in caught.value.advice
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("name", "advice"), [("pytorch-pickle", "serialization_format='pt2'"), ("lightgbm-estimator", "model.booster_")]
)
def test_pickles_of_flavours_that_have_something_better(name: str, advice: str) -> None:
    with pytest.raises(WrappedModelNotRead) as caught:
        found(SAVED / name)
    assert advice in caught.value.advice


def test_another_model_beside_one_that_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {h2o: {data: model.h2o}}\n")
    save_mlp(tmp_path / "model.onnx")
    with pytest.raises(WrappedModelNotRead):
        found(tmp_path)
    for said in ("format: onnx\n", "file: model.onnx\n"):
        (tmp_path / "model.yaml").write_text(said)
        assert found(tmp_path).format == "onnx"


@pytest.mark.parametrize(
    ("settings", "field"),
    [("{pickled_model: 3}", r"flavors\.sklearn\.pickled_model: it is 3"), ("{}", "it is missing")],
)
def test_a_place_that_is_none(tmp_path: Path, settings: str, field: str) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors: {{sklearn: {settings}}}\n")
    with pytest.raises(MlmodelInvalid, match=field):
        found(tmp_path)


def test_a_pickle_with_code_is_refused_whatever_mlmodel_says(tmp_path: Path) -> None:
    directory = copied("sklearn-pickle", tmp_path / "model")
    pickled = (directory / "model.pkl").read_bytes()
    (directory / "model.pkl").write_bytes(pickled[:-1] + b"cposix\nsystem\n(S'true'\ntR0.")
    source = list_model(directory)
    with pytest.raises(ModelRunsCode, match=r"posix\.system"):
        require_harmless(source, detect(source, read_manifest(source)))


def test_a_flavour_of_keras_is_what_lies_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copyfile(SAVED.parent / "known" / "network.keras", tmp_path / "data" / "model.keras")
    (tmp_path / "data" / "keras_module.txt").write_text("keras")
    (tmp_path / "MLmodel").write_text("flavors: {keras: {data: data, keras_version: 3.15.1}}\n")
    model = found(tmp_path)
    assert (model.format, str(model.entry), model.wrapper) == ("keras", "data/model.keras", "mlflow")
    assert model.inputs == ()


def test_a_flavour_of_paddle_names_what_its_files_begin_with(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"base_code":{"magic":"pir","version":4},"program":{"regions":[]}}')
    (tmp_path / "MLmodel").write_text("flavors: {paddle: {pickled_model: model, paddle_version: 3.3.1}}\n")
    model = found(tmp_path)
    assert (model.format, str(model.entry), model.wrapper) == ("paddle", "model.json", "mlflow")
    assert dict(model.versions) == {"paddlepaddle": "3.3.1"}
