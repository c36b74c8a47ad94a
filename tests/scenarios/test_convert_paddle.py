"""Inference models of PaddlePaddle, of version 3 and before: converted, equal to Paddle at batch 1, 2 and 7, the same
bytes each time, and refused for reasons."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.convert.convert import BrokenSourceModel, convert
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.formats.code import ModelRunsCode
from builder.formats.paddle import PaddleProgramMissing
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPT = Path(__file__).parents[1] / "support" / "scripts" / "make_paddle_models.py"
Tensors = list[tuple[str, str, tuple[object, ...]]]
ROWS, SCORES = ("features", "FP32", ("batch", 4)), ("output", "FP32", ("batch", 3))


@pytest.fixture(scope="module")
def written(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directories that the script writes, with the Paddle of the converter."""
    place = tmp_path_factory.mktemp("paddle")
    python = ensure_environment(CONVERTERS["paddle"].environment, host)
    for words, flag in (((), "1"), (("old",), "0")):
        command = [str(python), "-s", str(SCRIPT), str(place), *words]
        environ = {**os.environ, "FLAGS_enable_pir_api": flag}
        subprocess.run(command, check=True, timeout=300, capture_output=True, env=environ)
    return place


def load(directory: Path, host: Host) -> LoadedModel:
    return load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("linear", [ROWS, SCORES]),
        ("old", [ROWS, SCORES]),
        (
            "cnn",
            [
                ("image", "FP32", ("batch", 1, 8, 8)),
                ("output_0", "FP32", ("batch", 10)),
                ("output_1", "INT64", ("batch",)),
            ],
        ),
        (
            "words",
            [
                ("ids", "INT64", ("batch", "words")),
                ("mask", "FP32", ("batch", "words")),
                ("output", "FP32", ("batch", 4)),
            ],
        ),
    ],
)
def test_it_converts_and_agrees(written: Path, host: Host, name: str, tensors: Tensors) -> None:
    model = load(written / name, host)
    described = (*model.signature.inputs, *model.signature.outputs)
    assert [(spec.name, str(spec.datatype), spec.shape) for spec in described] == tensors
    cases, _ = answer(model, host)
    assert {len(next(iter(case.inputs.values()))) for case in cases} == {1, 2, 7}


@pytest.mark.parametrize("name", ["cnn", "old"])
def test_the_same_model_gives_the_same_bytes(written: Path, host: Host, tmp_path: Path, name: str) -> None:
    shutil.copytree(written / name, tmp_path / "again")
    (tmp_path / "again" / "notes.txt").write_text("another directory, another key")
    first, second = find_model(written / name).origin, find_model(tmp_path / "again").origin
    assert first is not None
    assert second is not None
    one, other = convert(first, host), convert(second, host)
    assert one != other
    assert (one / "model.onnx").read_bytes() == (other / "model.onnx").read_bytes()


def test_parameters_that_paddle_does_not_take(written: Path, host: Host, tmp_path: Path) -> None:
    """The last tensor, of 8 x 3, is not there; one that is cut in two is seen before Paddle reads it."""
    directory = Path(shutil.copytree(written / "linear", tmp_path / "cut"))
    parameters = directory / "model.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[: -(26 + 4 * 8 * 3)])
    with pytest.raises(BrokenSourceModel, match="Cannot read tensor") as caught:
        load(directory, host)
    assert caught.value.exit_code == 4


def test_what_calls_python_is_refused_by_name(written: Path) -> None:
    with pytest.raises(ModelRunsCode, match="it names py_func"):
        find_model(written / "calls")


def test_weights_alone_are_refused_with_what_to_do(written: Path) -> None:
    with pytest.raises(PaddleProgramMissing, match=r"model\.pdparams") as caught:
        find_model(written / "weights")
    assert "paddle.jit.save(layer, 'model'" in caught.value.advice
