"""Bases with GPU libraries: spec, lock, and what ships with mbuild."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from builder.base.lock import BaseLockDrift, BaseNotLocked, read_lock, write_lock, written_libraries
from builder.base.spec import InvalidBaseSpec, base_names, load_base, read_spec
from builder.base.stage import base_key
from builder.convert.engines import VERSION
from builder.model.engines import OFFERED, USUAL
from builder.oci.platform import Platform
from builder.resources import base_images_directory
from builder.targets import TARGETS

AMD64 = Platform.parse("linux/amd64")
GPU_BASES = [name for name in base_names() if load_base(name).gpu]


def test_the_bases_of_the_gpu_targets_have_libraries() -> None:
    wanted = {target.base_image for target in TARGETS.values() if target.provider != "CPUExecutionProvider"}
    assert wanted
    assert wanted <= set(GPU_BASES)


@pytest.mark.parametrize("name", GPU_BASES)
def test_a_gpu_base_has_the_root_filesystem_of_its_parent(name: str) -> None:
    image = load_base(name)
    parent = image.parent
    assert parent is not None
    assert base_key(image, read_lock(image), AMD64) == base_key(parent, read_lock(parent), AMD64)
    assert dict(image.own_env)["NVIDIA_REQUIRE_CUDA"] == f"cuda>={image.gpu.cuda if image.gpu else ''}"
    assert "LD_LIBRARY_PATH" not in dict(image.env)


@pytest.mark.parametrize("name", GPU_BASES)
def test_each_part_has_a_locked_wheel(name: str) -> None:
    image = load_base(name)
    assert image.gpu is not None
    for platform in image.platforms:
        locked = {wheel.name for wheel in read_lock(image).libraries[platform]}
        assert {part.wheel for part in image.gpu.parts} == locked


@pytest.mark.parametrize("name", GPU_BASES)
def test_a_target_packs_the_runtime_that_its_base_was_proven_for(name: str) -> None:
    gpu = load_base(name).gpu
    assert gpu is not None
    for target in TARGETS.values():
        if target.base_image == name:
            assert gpu.runtime in target.requirements
            assert gpu.provider == target.provider


def test_every_library_of_tensorrt_has_the_name_that_others_ask_for() -> None:
    """The wheel makes these links when it is imported, and forgets that of the CUDA runtime."""
    gpu = load_base("tensorrt").gpu
    assert gpu is not None
    places = {path.rpartition("/")[0] for part in gpu.parts for path in part.files}
    names = {path.rpartition("/")[2]: target for part in gpu.parts for path, target in part.links}
    assert places == {gpu.plugin.rpartition("/")[0]}
    assert names["libcudart.so.13"] == "libcudart.so.13.4.36"
    assert names["libtensorrt_rtx.so.1"] == names["libtensorrt_rtx.so"] == "libtensorrt_rtx.so.1.7.1"
    files = {path.rpartition("/")[2] for part in gpu.parts for path in part.files}
    assert set(names.values()) <= files
    assert gpu.described("tensorrt", {})["plugin"] == gpu.plugin


def test_engines_are_made_by_the_version_that_runs_them() -> None:
    """The plugin's wheel does not say which TensorRT-RTX is in it but by the names of its libraries."""
    gpu = load_base("tensorrt").gpu
    assert gpu is not None
    release = VERSION.rpartition(".")[0]
    assert any(path.endswith(f"libtensorrt_rtx.so.{release}") for part in gpu.parts for path in part.files)
    assert set(gpu.capabilities) <= set(OFFERED)
    assert set(USUAL) <= set(gpu.capabilities)


def test_a_lock_that_no_longer_fits_is_told(tmp_path: Path) -> None:
    image = load_base("cuda13")
    lock = written_libraries(image, image.lock_path)
    assert lock is not None
    write_lock(lock, tmp_path / "image.lock")
    assert read_lock(image, tmp_path / "image.lock") == read_lock(image)
    with pytest.raises(BaseNotLocked):
        read_lock(image, tmp_path / "none.lock")
    assert image.gpu is not None
    newer = dataclasses.replace(image.gpu, wheels=("nvidia-cublas==99.0", *image.gpu.wheels[1:]))
    with pytest.raises(BaseLockDrift, match=r"nvidia-cublas==13\.1\.2\.11, nvidia-cublas==99\.0"):
        read_lock(dataclasses.replace(image, gpu=newer))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("parent",), "nowhere", "parent: there is no base nowhere beside this one"),
        (("gpu", "parts", "cublas", "wheel"), "nvidia-other", "gpu.parts.cublas.wheel: nvidia-other is not among"),
        (("gpu", "driver"), "new", "gpu.driver: 'new' does not match"),
        (("packages",), ["base-files"], "the file: 'packages' is not one of"),
    ],
)
def test_what_is_wrong_is_told_by_its_path(tmp_path: Path, path: tuple[str, ...], value: object, told: str) -> None:
    shipped = base_images_directory()
    for name in ("cpu", "keyring"):
        (tmp_path / name).symlink_to(shipped / name)
    spec = yaml.safe_load((shipped / "cuda13" / "image.yaml").read_text())
    place = spec
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path / "mine" / "image.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    with pytest.raises(InvalidBaseSpec) as raised:
        read_spec(file)
    assert told in str(raised.value)
