from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import pytest

from builder.convert.convert import InputsMissing, source_model
from builder.formats import SeveralFormats, detect
from builder.formats.torch_state import ModuleFileMissing, ModuleMissing, WeightsWithoutModule
from builder.model.manifest import ManifestInvalid, ModuleSpec, read_manifest
from builder.model.source import Detection, list_model

FILES = Path(__file__).parents[2] / "support" / "known"
MODULE = "module: {file: net.py, class: Net, arguments: {width: 3}}\n"


@pytest.fixture(params=["state_dict.pt", "legacy.pt", "weights.safetensors"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copyfile(FILES / request.param, tmp_path / request.param)
    (tmp_path / "net.py").write_text("raise SystemExit('nobody runs this here')\n")
    return tmp_path


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


def test_a_named_module_makes_weights_a_model(directory: Path) -> None:
    (directory / "model.yaml").write_text(MODULE)
    assert found(directory).format == "torch-state"
    module = read_manifest(list_model(directory)).module
    assert module == ModuleSpec(file=PurePosixPath("net.py"), name="Net", arguments={"width": 3})


def test_weights_alone_are_refused_with_what_to_add(directory: Path) -> None:
    with pytest.raises(WeightsWithoutModule) as caught:
        found(directory)
    assert "module: {file: net.py, class: Net" in caught.value.advice


def test_the_module_must_be_there(directory: Path) -> None:
    (directory / "model.yaml").write_text("format: torch-state\n")
    with pytest.raises(ModuleMissing):
        found(directory)
    (directory / "model.yaml").write_text("module: {file: nets.py, class: Net}\n")
    with pytest.raises(ModuleFileMissing, match=r"did you mean 'net\.py'"):
        found(directory)


@pytest.mark.parametrize("module", ["{file: ../net.py, class: Net}", "{file: net.py}", "{file: net.py, class: a.b}"])
def test_a_malformed_module(directory: Path, module: str) -> None:
    (directory / "model.yaml").write_text(f"module: {module}\n")
    with pytest.raises(ManifestInvalid, match="module"):
        found(directory)


def test_the_inputs_must_be_said(directory: Path) -> None:
    (directory / "model.yaml").write_text(MODULE)
    source = list_model(directory)
    with pytest.raises(InputsMissing) as caught:
        source_model(source, read_manifest(source), found(directory))
    assert "image: {datatype: FP32" in caught.value.advice


@pytest.mark.parametrize(("name", "format_"), [("scripted.pt", "torchscript"), ("exported.pt2", "torch-export")])
def test_whole_models_need_no_module(tmp_path: Path, name: str, format_: str) -> None:
    shutil.copyfile(FILES / name, tmp_path / name)
    assert found(tmp_path).format == format_


def test_a_program_beside_its_weights_needs_a_word(tmp_path: Path) -> None:
    for name in ("scripted.pt", "state_dict.pt"):
        shutil.copyfile(FILES / name, tmp_path / name)
    with pytest.raises(SeveralFormats):
        found(tmp_path)
    (tmp_path / "model.yaml").write_text("format: torchscript\n")
    assert str(found(tmp_path).entry) == "scripted.pt"
