"""Which files are scikit-learn models, which version wrote them, and which are refused before any process starts."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from builder.convert.sklearn_versions import ScikitLearnVersion, sklearn_environment
from builder.formats import FormatNotRead, detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.sklearn import PickleUnreadable
from builder.model.manifest import ModelManifest
from builder.model.source import Detection, list_model
from tests.unit.formats.test_pickles import Evil, global_of, text

MODEL = global_of("sklearn.svm._classes", "SVC") + b")\x81}" + text("_sklearn_version") + text("1.7.2") + b"sb"
ATTACK = global_of("posix", "system") + text("touch canary") + b"\x85R"


def found(directory: Path) -> Detection:
    return detect(list_model(directory), ModelManifest(name="model"))


def check(directory: Path) -> None:
    require_harmless(list_model(directory), found(directory))


def skops(path: Path, *nodes: tuple[str, str, str]) -> None:
    content = [{"__module__": module, "__class__": name, "__loader__": loader} for module, name, loader in nodes]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({**content[0], "content": {"steps": content[1:]}, "protocol": 2}))


def test_a_pickle_with_an_estimator_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + MODEL + b".")
    assert found(tmp_path).format == "sklearn"
    assert dict(found(tmp_path).versions) == {"scikit-learn": "1.7.2"}
    check(tmp_path)


def test_a_pickle_without_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "words.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FormatNotRead):
        found(tmp_path)


def test_the_version_that_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + global_of("sklearn.svm._classes", "SVC") + b")\x81.")
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.6.1\n")
    assert dict(found(tmp_path).versions) == {"scikit-learn": "1.6.1"}


@pytest.mark.parametrize("version", ["1.2.2", "0.24.1", "2.0.0", "nonsense"])
def test_versions_without_a_converter(version: str) -> None:
    with pytest.raises(ScikitLearnVersion, match=version):
        sklearn_environment({"scikit-learn": version})


def test_the_pin_follows_the_model() -> None:
    pins = sklearn_environment({"scikit-learn": "1.5.2"}).requirements
    assert {"scikit-learn==1.5.2", "numpy==2.4.6"} <= set(pins)
    assert {"scikit-learn==1.4.2", "numpy==1.26.4"} <= set(sklearn_environment({"scikit-learn": "1.4.2"}).requirements)


@pytest.mark.parametrize("suffix", ["pkl", "joblib"])
def test_code_in_a_pickle_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / f"model.{suffix}").write_bytes(b"\x80\x04" + MODEL + ATTACK + b"\x86.")
    with pytest.raises(ModelRunsCode, match=r"posix\.system") as refused:
        check(directory)
    assert f"model.{suffix}" in str(refused.value)
    assert "--allow-code" in refused.value.hint
    assert not list(tmp_path.rglob("canary"))


def test_a_changed_class_is_refused(tmp_path: Path) -> None:
    patch = global_of("sklearn.svm._classes", "SVC") + b"N}" + text("fit") + b"Ns\x86b"
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + patch + b".")
    with pytest.raises(ModelRunsCode, match="which it would change"):
        check(tmp_path)


def test_code_in_a_skops_file_is_refused_by_name(tmp_path: Path) -> None:
    svc = ("sklearn.svm._classes", "SVC", "ObjectNode")
    skops(tmp_path / "model.skops", svc, ("os", "system", "FunctionNode"))
    with pytest.raises(ModelRunsCode, match=r"os\.system"):
        check(tmp_path)
    skops(tmp_path / "model.skops", svc, ("builtins", "str", "MethodNode"))
    with pytest.raises(ModelRunsCode, match="MethodNode"):
        check(tmp_path)
    skops(tmp_path / "model.skops", svc, ("builtins", "str", "JsonNode"))
    check(tmp_path)


def test_a_broken_file_is_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04" + MODEL + pickle.dumps([Evil()])[:10])
    with pytest.raises(PickleUnreadable, match=r"model\.pkl"):
        check(tmp_path)
