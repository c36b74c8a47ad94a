"""Parameters of JAX with the user's own code: converted, equal to JAX at batch 1, 2 and 7, and refused for reasons."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.convert.convert import InputsNotTaken, ModuleNotUsable
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.formats.jax import StableHloNotRead
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPT = Path(__file__).parents[1] / "support" / "scripts" / "make_jax_models.py"


@pytest.fixture(scope="module")
def written(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directories that the script writes, with the JAX of the converter."""
    place = tmp_path_factory.mktemp("jax")
    python = ensure_environment(CONVERTERS["jax"].environment, host)
    subprocess.run([str(python), "-s", str(SCRIPT), str(place)], check=True, timeout=300, capture_output=True)
    return place


def load(directory: Path, host: Host) -> LoadedModel:
    return load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("linen", {"scores": ("FP32", ("batch", 10))}),
        ("nnx", {"output": ("FP32", ("batch", 3))}),
        ("function", {"output_0": ("FP32", ("batch", 4)), "output_1": ("INT32", ("batch",))}),
    ],
)
def test_it_converts_and_agrees(
    written: Path, host: Host, name: str, outputs: dict[str, tuple[str, tuple[object, ...]]]
) -> None:
    model = load(written / name, host)
    assert {spec.name: (str(spec.datatype), spec.shape) for spec in model.signature.outputs} == outputs
    assert all(spec.shape[0] == "batch" for spec in model.signature.inputs)
    cases, _ = answer(model, host)
    assert {len(next(iter(case.inputs.values()))) for case in cases} == {1, 2, 7}


def test_parameters_of_another_model(written: Path, host: Host) -> None:
    with pytest.raises(ModuleNotUsable, match=r"params\.Conv_0\.bias is \[4\], not \[5\]"):
        load(written / "misfit", host)


def test_inputs_that_the_code_does_not_take(written: Path, host: Host, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(written / "function", tmp_path / "model"))
    said = (directory / "model.yaml").read_text()
    (directory / "model.yaml").write_text(said.replace("INT32", "INT64"))
    with pytest.raises(InputsNotTaken, match="ids is INT64; JAX computes with"):
        load(directory, host)


def test_a_program_of_jax_export_is_refused_with_what_to_do(written: Path) -> None:
    with pytest.raises(StableHloNotRead, match=r"model\.bin is a program of jax\.export") as caught:
        find_model(written / "exported")
    assert "module: {file: net.py" in caught.value.advice
