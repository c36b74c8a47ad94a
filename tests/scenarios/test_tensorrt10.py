"""Full TensorRT out of wheels that the user brings. The vendor's are not to be had here: in their place stand wheels
with tiny libraries of the same names, which ask for each other as the real ones do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import onnx
import pytest

from builder.base.spec import load_base, wheel_of
from builder.convert.envs import ensure_environment
from builder.convert.reference import REFERENCE
from builder.elf.gpu_code import GpuCode
from builder.host import Host
from builder.oci.layout import Layout
from builder.oci.unpack import unpack_layers
from builder.plan.gpu import GpuLibraries
from builder.probe.closure import library_problems
from builder.probe.contents import read_contents
from builder.probe.report import look_at
from builder.probe.runner import ProbedImage
from builder.targets import TARGETS
from tests.scenarios.conftest import Mbuild
from tests.support import onnx_models
from tests.support.elves import Library
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.network

TARGET = ("--target", "tensorrt10", "--platform", "linux/amd64")
CUDA = ("libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13")
NEEDED = {
    "libonnxruntime_providers_cuda.so": (*CUDA, "libcurand.so.10", "libcuda.so.1"),
    "libonnxruntime_providers_tensorrt.so": ("libnvinfer.so.10", "libnvonnxparser.so.10", *CUDA[::2], "libcudnn.so.9"),
    "libnvonnxparser.so.10": ("libnvinfer.so.10",),
    "libnvinfer_plugin.so.10": ("libnvinfer.so.10",),
}
PARSER = "tensorrt_libs/libnvonnxparser.so.10"


@pytest.fixture(scope="module")
def gpu() -> GpuLibraries:
    found = load_base("tensorrt10").gpu
    assert found is not None
    return found


def library(path: str, gpu: GpuLibraries) -> bytes:
    """Named as its file, with code for what the base claims where that is what tells."""
    name = PurePosixPath(path).name
    said = [f"sm_{text.replace('.', '')}" for text in gpu.capabilities] + [f"compute_{gpu.ptx.replace('.', '')}"]
    code = [tuple(map(GpuCode.named, said))] if name == "libonnxruntime_providers_cuda.so" else []
    return Library(soname=name, needed=NEEDED.get(name, ()), runpath="$ORIGIN", gpu=code).to_bytes()


def bring(links: Path, gpu: GpuLibraries, without: str = "") -> dict[str, str]:
    """Wheels of all that the target packs, and the settings by which they are all that there is."""
    files: dict[str, list[str]] = {pin: [] for pin in TARGETS["tensorrt10"].pins("3.13")}
    files |= {pin: [path.replace("*", "") for part in gpu.parts if part.wheel == wheel_of(pin) for path in part.files]
              for pin in gpu.wheels}  # fmt: skip
    files[gpu.runtime] = [
        f"onnxruntime/capi/libonnxruntime_providers_{name}.so" for name in ("cuda", "shared", "tensorrt")
    ]
    links.mkdir()
    for pin, paths in files.items():
        name, version = pin.replace("-", "_").split("==")
        content = make_wheel(name, version, {path: library(path, gpu) for path in paths if path != without})
        (links / f"{name}-{version}-py3-none-any.whl").write_bytes(content)
    return {"PIP_NO_INDEX": "1", "UV_FIND_LINKS": str(links), "MBUILD_BASES": str(links.parent / "bases")}


def test_brought_wheels_are_locked_and_become_an_image_that_closes(
    mbuild: Mbuild, host: Host, tmp_path: Path, gpu: GpuLibraries
) -> None:
    ensure_environment(REFERENCE, host)
    (tmp_path / "dense").mkdir()
    onnx.save(onnx_models.mlp(), tmp_path / "dense" / "model.onnx")
    environ = bring(tmp_path / "links", gpu)
    mine = replace(mbuild, environ=environ)
    command = (tmp_path / "dense", *TARGET, "--no-test", "--no-load", "-o", tmp_path / "layout")
    refused = mine("build", *command)
    assert refused.returncode == 7
    assert "needs tensorrt-cu13-libs==10.16.1.11, which is not locked in" in refused.stderr

    locked = mine("base", "lock", "tensorrt10")
    assert locked.returncode == 0, locked.stderr
    assert "libnvonnxparser.so.10, needed by libonnxruntime_providers_tensorrt.so" in locked.stdout
    assert (tmp_path / "bases" / "tensorrt10" / "image.lock").is_file()

    mine.json("build", *command)
    require_closure(Layout(tmp_path / "layout"), host)
    facts = unpacked(tmp_path / "layout", tmp_path / "root")
    assert (facts["target"], facts["provider"]) == ("tensorrt10", "TensorrtExecutionProvider")
    assert set(facts["parts"]) == {"cudart", "cublas", "curand", "cudnn", "tensorrt", "tensorrt-builder"}
    index = json.loads((tmp_path / "root/models/dense/1/engines/index.json").read_text())
    assert (index["runtime"], index["precision"], index["engines"]) == ("tensorrt", "fp32", [])
    assert [one["min"][0] for one in index["inputs"].values()] == [1]
    assert (tmp_path / "root/opt/mbuild/runtime/onnxruntime/capi/libonnxruntime_providers_tensorrt.so").is_file()


def require_closure(layout: Layout, host: Host) -> None:
    """The image closes, and without TensorRT's parser it would not."""
    manifest = layout.manifest(layout.find())
    config = layout.config(manifest)
    checks = look_at(ProbedImage(layout=layout, manifest=manifest, config=config), host)
    assert {"libraries-present", "gpu-libraries"} <= {check.name for check in checks if check.passed}
    contents = read_contents(layout, manifest, host.store)
    left = {path: file for path, file in contents.files.items() if path.name != PurePosixPath(PARSER).name}
    problems = [one.problem for one in library_problems(replace(contents, files=left), config.platform, "")]
    assert "needs libnvonnxparser.so.10" in problems


def unpacked(place: Path, destination: Path) -> Mapping[str, object]:
    """The image's files; what it says of itself."""
    layout = Layout(place)
    destination.mkdir()
    unpack_layers(layout, layout.manifest(layout.find()).layers, destination)
    return dict(json.loads((destination / "opt/mbuild/gpu.json").read_text()))


def test_a_set_that_lacks_a_library_is_not_locked(mbuild: Mbuild, tmp_path: Path, gpu: GpuLibraries) -> None:
    refused = mbuild("base", "lock", "tensorrt10", **bring(tmp_path / "links", gpu, without=PARSER))
    assert refused.returncode == 7
    assert "libonnxruntime_providers_tensorrt.so needs libnvonnxparser.so.10, which no part has" in refused.stderr
    assert not (tmp_path / "bases").exists()


def test_without_the_wheel_a_lock_fails_in_one_sentence(mbuild: Mbuild, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    environ = {"PIP_NO_INDEX": "1", "UV_FIND_LINKS": str(tmp_path / "empty"), "MBUILD_BASES": str(tmp_path / "bases")}
    refused = mbuild("base", "lock", "tensorrt10", **environ)
    assert refused.returncode == 7
    error, hint = refused.stderr.strip().splitlines()
    assert "tensorrt-cu13-libs==10.16.1.11, of which your index and find-links have no wheel: the public" in error
    assert hint.startswith("hint: get that wheel from NVIDIA, name its directory in UV_FIND_LINKS")
