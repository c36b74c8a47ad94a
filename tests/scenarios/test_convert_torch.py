"""PyTorch's files as PyTorch itself writes them: converted, equal at batch 1, 2 and 7, and refused for good reasons."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from builder.convert.convert import (
    BrokenSourceModel,
    CodeInWeights,
    ConversionFailed,
    InputsNotTaken,
    ModuleNotUsable,
    convert,
)
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.formats.code import ModelRunsCode
from builder.host import Host
from builder.model.parity import ConversionDiffersAt
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer
from builder.plan.spec import ConvertOptions
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPT = Path(__file__).parents[1] / "support" / "scripts" / "make_torch_models.py"

Load = Callable[[Path], LoadedModel]


@pytest.fixture(scope="session")
def written(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directories that the script writes, with the PyTorch of the converter."""
    place = tmp_path_factory.mktemp("torch") / "models"
    place.mkdir()
    python = ensure_environment(CONVERTERS["torchscript"].environment, host)
    subprocess.run([str(python), "-s", str(SCRIPT), str(place)], check=True, timeout=300, capture_output=True)
    return place


@pytest.fixture
def load(host: Host) -> Load:
    target = find_target("cpu", Platform.parse("linux/amd64"))
    return lambda directory: load_model(find_model(directory), target, host)


HEIGHT = ("image", "FP32", ("batch", 1, "height", 8))
SIGNATURES = {
    "scripted": (
        [("ids", "INT64", ("batch", "words")), ("scale", "FP32", (1,))],
        [("last", "FP32", ("batch", 4)), ("steps", "FP32", ("batch", "words", 4))],
    ),
    "traced": ([("input", "FP32", ("batch", 4))], [("output", "FP32", ("batch", 2))]),
    "state": ([HEIGHT], [("scores", "FP32", ("batch", 3)), ("features", "FP32", ("batch", 4))]),
    "safetensors": ([HEIGHT], [("scores", "FP32", ("batch", 3)), ("features", "FP32", ("batch", 6))]),
    "branching": ([("rows", "FP32", ("batch", 4))], [("output", "FP32", ("batch", 2))]),
    "program": (
        [("image", "FP32", ("batch", 1, "image_2", 8))],
        [("scores", "FP32", ("batch", 3)), ("features", "FP32", ("batch", 4))],
    ),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_what_pytorch_writes_is_converted_and_equal(written: Path, load: Load, host: Host, name: str) -> None:
    model = load(written / name)
    described = [
        [(tensor.name, tensor.datatype.value, tensor.shape) for tensor in side]
        for side in (model.signature.inputs, model.signature.outputs)
    ]
    assert tuple(described) == SIGNATURES[name]
    batches = {next(iter(case.inputs.values())).shape[0] for case in model.cases}
    assert batches == {1, 2, 7}
    cases, _ = answer(model, host)  # raises ConversionDiffers
    assert all(np.isfinite(array).all() for case in cases for array in case.outputs.values())
    assert any(np.abs(array).max() > 0 for case in cases for array in case.outputs.values())


def test_an_example_says_what_a_torchscript_file_does_not(
    written: Path, load: Load, host: Host, tmp_path: Path
) -> None:
    """The names come from the file, the rest from the arrays, and the arrays become a golden case."""
    shutil.copyfile(written / "scripted" / "model.pt", tmp_path / "model.pt")
    np.savez(tmp_path / "example.npz", scale=np.ones(1, np.float32), ids=np.array([[1, 2, 4], [4, 0, 3]]))
    model = load(tmp_path)
    described = [(tensor.name, tensor.datatype.value, tensor.shape) for tensor in model.signature.inputs]
    assert described == [("ids", "INT64", ("batch", 3)), ("scale", "FP32", (1,))]
    cases, _ = answer(model, host)
    assert cases[-1].name == "example"
    assert cases[-1].outputs["last"].shape == (2, 4)


@pytest.mark.parametrize("name", ["scripted", "program"])
def test_the_bytes_depend_on_the_model_alone(
    written: Path, host: Host, make_host: Callable[..., Host], tmp_path: Path, name: str
) -> None:
    shutil.copytree(written / name, tmp_path / "elsewhere")
    other = make_host(tmp_path / "cache")
    (tmp_path / "cache" / "directories").mkdir(parents=True, exist_ok=True)
    (tmp_path / "cache" / "directories" / "environments").symlink_to(host.store.root / "directories" / "environments")
    made = []
    for directory, place in ((written / name, host), (tmp_path / "elsewhere", other)):
        origin = find_model(directory).origin
        assert origin is not None
        made.append((convert(origin, place) / "model.onnx").read_bytes())
    assert made[0] == made[1]
    for path in (str(tmp_path), str(written), "site-packages", ".py"):
        assert path.encode() not in made[0]


@pytest.mark.parametrize(
    ("name", "tensors", "node"), [("program", ("scores", "features"), "Conv"), ("traced", ("output",), "Gemm")]
)
def test_one_broken_weight_is_seen_and_its_node_named(
    written: Path, host: Host, tmp_path: Path, name: str, tensors: tuple[str, ...], node: str
) -> None:
    found = find_model(written / name, ConvertOptions(bisect=True))
    model = load_model(found, find_target("cpu", Platform.parse("linux/amd64")), host)
    proto = onnx.load(model.artifact.graph)
    weight = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(weight).copy()
    values.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(proto, tmp_path / "model.onnx")
    digest = Digest.of((tmp_path / "model.onnx").read_bytes())
    files = ((PurePosixPath("model.onnx"), tmp_path / "model.onnx", digest),)
    broken = replace(model, artifact=ModelArtifact(files=files, opset=model.artifact.opset))
    owner = next(each for each in proto.graph.node if weight.name in each.input)
    with pytest.raises(ConversionDiffersAt) as caught:
        answer(broken, host)
    assert caught.value.exit_code == 6
    assert str(caught.value.facts["case"]).startswith("generated-")
    assert caught.value.facts["tensor"] in tensors
    assert owner.op_type == node
    assert f"the first node that departs is {node} {owner.name!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("input: {datatype: INT64, shape: [batch, 4]}", "dtype"),
        ("input: {datatype: FP32, shape: [batch, 5]}", r"shapes cannot be multiplied \(2x5 and 4x8\)"),
        ("rows: {datatype: FP32, shape: [batch, 4]}", "it takes input; model.yaml has rows"),
        ("input: {datatype: BYTES, shape: [batch, 4]}", "PyTorch has no such tensors"),
    ],
)
def test_inputs_that_do_not_fit(written: Path, load: Load, tmp_path: Path, inputs: str, told: str) -> None:
    shutil.copyfile(written / "traced" / "model.pt", tmp_path / "model.pt")
    (tmp_path / "model.yaml").write_text(f"inputs:\n  {inputs}\n")
    with pytest.raises(InputsNotTaken, match=told) as caught:
        load(tmp_path)
    assert caught.value.exit_code == 3
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("{file: net.py, class: Net, arguments: {width: 5}}", "size mismatch for"),
        ("{file: net.py, class: Nets}", "no attribute 'Nets'"),
    ],
)
def test_a_module_that_does_not_fit(written: Path, load: Load, tmp_path: Path, module: str, told: str) -> None:
    shutil.copytree(written / "state", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.yaml").write_text(
        f"module: {module}\ninputs:\n  image: {{datatype: FP32, shape: [batch, 1, 8, 8]}}\n"
    )
    with pytest.raises(ModuleNotUsable, match=told):
        load(tmp_path)


def test_a_program_in_training_mode_is_refused(written: Path, load: Load) -> None:
    with pytest.raises(ConversionFailed, match=r"training mode \(aten\.batch_norm\.default\); call model\.eval\(\)"):
        load(written / "training")


def test_weights_in_bfloat16_are_refused_with_what_to_do(written: Path, load: Load) -> None:
    with pytest.raises(ConversionFailed, match=r"its weights are bfloat16.*call model\.float\(\) before"):
        load(written / "narrow")


@pytest.mark.parametrize("name", ["pickle", "samples"])
def test_code_in_weights_is_refused_and_not_run(written: Path, load: Load, name: str) -> None:
    """``samples`` is a .pt2 whose sample inputs torch.export.load would unpickle."""
    with pytest.raises(ModelRunsCode, match=r"it names .*pathlib\.Path") as caught:
        load(written / name)
    assert caught.value.exit_code == 4
    assert not (written / "canary").exists()


def test_sample_inputs_that_call_are_not_loaded_either_way(written: Path, host: Host) -> None:
    """The worker sees to it by itself, whoever was asked before."""
    found = find_model(written / "samples", ConvertOptions(allow_code=True))
    with pytest.raises(CodeInWeights, match="pickle that calls"):
        load_model(found, find_target("cpu", Platform.parse("linux/amd64")), host)
    assert not (written / "canary").exists()


def test_the_canary_would_have_been_written(written: Path, host: Host, tmp_path: Path) -> None:
    """Without the checks PyTorch itself runs what the files hold."""
    python = ensure_environment(CONVERTERS["torchscript"].environment, host)
    place = Path(shutil.copytree(written / "samples", tmp_path / "samples"))
    loads = f"import torch; torch.export.load({str(place / 'model.pt2')!r})"
    try:
        subprocess.run([str(python), "-s", "-c", loads], timeout=300, capture_output=True)
        assert (written / "canary").exists()
    finally:
        (written / "canary").unlink(missing_ok=True)


def test_a_broken_file(written: Path, load: Load, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(written / "scripted" / "model.pt") as archive,
        zipfile.ZipFile(tmp_path / "model.pt", "w") as new,
    ):
        for name in archive.namelist():
            new.writestr(name, b"def forward(" if name.endswith(".py") else archive.read(name))
    shutil.copyfile(written / "scripted" / "model.yaml", tmp_path / "model.yaml")
    with pytest.raises(BrokenSourceModel):
        load(tmp_path)
