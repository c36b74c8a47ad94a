"""Bases with GPU libraries: spec, lock, and what ships with mbuild."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from builder.base.catalogue import summarise
from builder.base.lock import (
    BaseLockDrift,
    BaseLockNotWritable,
    BaseNotLocked,
    LibraryLock,
    WheelsNotBrought,
    read_lock,
    require_writable,
    write_lock,
    written_libraries,
)
from builder.base.spec import InvalidBaseSpec, base_names, load_base, read_spec
from builder.base.stage import base_key
from builder.convert.engines import VERSION
from builder.model.engines import OFFERED, USUAL
from builder.oci.platform import Platform
from builder.plan.wheel import LockedWheel
from builder.resources import base_images_directory, own_locks_directory
from builder.targets import TARGETS

AMD64 = Platform.parse("linux/amd64")
GPU_BASES = [name for name in base_names() if load_base(name).gpu]
BROUGHT = [name for name in GPU_BASES if load_base(name).brought]
LOCKED = [name for name in GPU_BASES if name not in BROUGHT]


def locked_wheel(pin: str) -> LockedWheel:
    name, _, version = pin.partition("==")
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedWheel(name=name, version=version, filename=filename, sha256="0" * 64, size=1)


def test_the_bases_of_the_gpu_targets_have_libraries() -> None:
    wanted = {target.base_image for target in TARGETS.values() if target.provider != "CPUExecutionProvider"}
    assert wanted
    assert wanted <= set(GPU_BASES)


@pytest.mark.parametrize("name", LOCKED)
def test_a_gpu_base_has_the_root_filesystem_of_its_parent(name: str) -> None:
    image = load_base(name)
    parent = image.parent
    assert parent is not None
    assert base_key(image, read_lock(image), AMD64) == base_key(parent, read_lock(parent), AMD64)


@pytest.mark.parametrize("name", GPU_BASES)
def test_a_gpu_base_says_what_it_asks_of_a_machine(name: str) -> None:
    image = load_base(name)
    assert dict(image.own_env)["NVIDIA_REQUIRE_CUDA"] == f"cuda>={image.gpu.cuda if image.gpu else ''}"
    assert "LD_LIBRARY_PATH" not in dict(image.env)


@pytest.mark.parametrize("name", BROUGHT)
def test_what_only_users_can_get_has_no_lock_but_theirs(name: str, tmp_path: Path) -> None:
    image = load_base(name, {"MBUILD_BASES": str(tmp_path)})
    assert not (image.directory / "image.lock").exists()
    assert image.lock_path == tmp_path / name / "image.lock"
    with pytest.raises(WheelsNotBrought) as told:
        read_lock(image)
    for pin, why in image.brought.items():
        assert pin in str(told.value)
        assert why in str(told.value)
        assert why in summarise(image).unlocked
    assert f"mbuild base lock {name}" in told.value.advice
    pins = image.gpu.wheels if image.gpu else ()
    wheels = tuple(map(locked_wheel, pins))
    write_lock(LibraryLock(name=name, parent="cpu", platforms={AMD64: wheels}), image.lock_path)
    assert read_lock(image).libraries[AMD64]
    assert summarise(image).unlocked == ""


def test_a_place_that_takes_no_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BaseLockNotWritable, match=r"tensorrt10 cannot be written to .*image\.lock: .*file is a file"):
        require_writable(load_base("tensorrt10", {"MBUILD_BASES": str(tmp_path / "file")}))
    require_writable(load_base("tensorrt10", {"MBUILD_BASES": str(tmp_path / "new" / "bases")}))


def test_where_a_lock_of_the_users_own_lies() -> None:
    assert own_locks_directory({"XDG_CONFIG_HOME": "/c"}) == Path("/c/mbuild/bases")
    assert own_locks_directory({}) == Path.home() / ".config" / "mbuild" / "bases"


def test_a_base_takes_what_another_has_and_adds_to_it() -> None:
    full, cuda = load_base("tensorrt10").gpu, load_base("cuda13").gpu
    assert full is not None
    assert cuda is not None
    assert full.parts[: len(cuda.parts)] == cuda.parts
    assert [part.name for part in full.parts[len(cuda.parts) :]] == ["tensorrt", "tensorrt-builder"]
    assert full.wheels == (*cuda.wheels, "tensorrt-cu13-libs==10.16.1.11")
    assert (full.provider, full.runtime, full.driver) == ("TensorrtExecutionProvider", cuda.runtime, cuda.driver)
    assert full.drop.items() > cuda.drop.items()


@pytest.mark.parametrize("name", LOCKED)
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
        (("gpu", "from"), "nowhere", "gpu.from: there is no base nowhere beside this one"),
        (("gpu", "brought"), {"other": "why"}, "gpu.brought.other: is not among gpu.wheels"),
        (("gpu", "driver"), "new", "gpu.driver: 'new' does not match"),
        (("packages",), ["base-files"], "the file: no key 'packages' belongs here"),
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
