from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builder.formats import detect
from builder.formats.jax import ParametersWithoutModule, StableHloNotRead
from builder.formats.torch_state import ModuleFileMissing, ModuleMissing
from builder.model.manifest import read_manifest
from builder.model.source import Detection, list_model

MODULE = "module: {file: net.py, class: Net}\n"
PARAMETERS = b"\x81\xa6params\x80"
SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text("class Net: ...\n")
    return tmp_path


@pytest.mark.parametrize("said", [MODULE, "format: jax\n" + MODULE])
def test_parameters_of_flax_with_a_module(directory: Path, said: str) -> None:
    (directory / "params.msgpack").write_bytes(PARAMETERS)
    (directory / "model.yaml").write_text(said)
    assert (found(directory).format, str(found(directory).entry)) == ("jax", "params.msgpack")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.npz"])
def test_other_arrays_need_the_format(directory: Path, name: str) -> None:
    np.savez(directory / "weights.npz", kernel=np.zeros(2))
    if name != "weights.npz":
        (directory / "weights.npz").unlink()
        (directory / name).write_bytes(SAFETENSORS)
    (directory / "golden").mkdir()
    np.savez(directory / "golden" / "a.npz", x=np.zeros(2))
    (directory / "model.yaml").write_text("format: jax\n" + MODULE)
    assert (found(directory).format, str(found(directory).entry)) == ("jax", name)


def test_safetensors_with_a_module_are_of_pytorch_where_nothing_else_is_said(directory: Path) -> None:
    (directory / "weights.safetensors").write_bytes(SAFETENSORS)
    (directory / "model.yaml").write_text(MODULE)
    assert found(directory).format == "torch-state"


def test_without_a_module_it_is_asked_for(directory: Path) -> None:
    (directory / "params.msgpack").write_bytes(PARAMETERS)
    with pytest.raises(ParametersWithoutModule) as caught:
        found(directory)
    assert "format: jax\nmodule: {file: net.py" in caught.value.advice
    (directory / "model.yaml").write_text("format: jax\n")
    with pytest.raises(ModuleMissing, match="the format jax needs"):
        found(directory)
    (directory / "model.yaml").write_text("format: jax\nmodule: {file: nett.py, class: Net}\n")
    with pytest.raises(ModuleFileMissing, match=r"did you mean 'net\.py'"):
        found(directory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.mlirbc", b"ML\xefR\rStableHLO_v1.15.0\x00"),
        ("model.bin", b"<\x00\x00\x00" + bytes(240) + b"ML\xefR\rStableHLO_v1.15.0\x00"),
        ("model.mlir", b"module @f {\n  %0 = stablehlo.add %a, %b : tensor<2xf32>\n}\n"),
    ],
)
def test_stablehlo_is_refused_with_what_to_do(directory: Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(StableHloNotRead, match=name) as caught:
        found(directory)
    assert caught.value.exit_code == 4
    assert "save the parameters instead" in caught.value.advice
