"""What of a driver a container is given."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.elf.loader_cache import loader_cache
from builder.host.container import ALL_GPUS
from builder.host.gpu import find_gpu

DRIVER = "580.95.05"


def machine(root: Path, place: str, *devices: str) -> Path:
    """A root with device files (plain ones here) and a driver in ``place``, beside what is none of its own."""
    for name in ("dev", "etc", place):
        (root / name).mkdir(parents=True, exist_ok=True)
    for device in devices:
        (root / "dev" / device).parent.mkdir(exist_ok=True)
        (root / "dev" / device).touch()
    for name in ("libcuda.so", "libnvidia-ml.so", "libnvidia-gpucomp.so", "libnvidia-glcore.so", "libc.so"):
        (root / place / f"{name}.{DRIVER}").touch()
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        (root / place / name).symlink_to(f"{name.removesuffix('.1')}.{DRIVER}")
    return root


def test_devices_and_the_drivers_libraries(tmp_path: Path) -> None:
    devices = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-caps/nvidia-cap1", "null")
    root = machine(tmp_path, "usr/lib/x86_64-linux-gnu", *devices)
    found = find_gpu(root)
    assert found is not None
    names = [str(device.relative_to(root / "dev")) for device in found.devices]
    assert names == ["nvidia-caps/nvidia-cap1", "nvidia-uvm", "nvidia0", "nvidiactl"]
    assert {name: library.name for name, library in found.libraries} == {
        "libcuda.so.1": f"libcuda.so.{DRIVER}",
        f"libnvidia-gpucomp.so.{DRIVER}": f"libnvidia-gpucomp.so.{DRIVER}",
        "libnvidia-ml.so.1": f"libnvidia-ml.so.{DRIVER}",
        f"libnvidia-ml.so.{DRIVER}": f"libnvidia-ml.so.{DRIVER}",
    }


def test_a_driver_in_another_place(tmp_path: Path) -> None:
    root = machine(tmp_path, "opt/driver", "nvidia0")
    assert find_gpu(root) is None
    assert find_gpu(root, search="/lib:/opt/driver") is not None
    (root / "etc/ld.so.cache").write_bytes(b"not a cache")
    assert find_gpu(root) is None
    cached = loader_cache([("libcuda.so.1", PurePosixPath("/opt/driver/libcuda.so.1"))], "amd64")
    (root / "etc/ld.so.cache").write_bytes(cached)
    assert find_gpu(root) is not None


def test_a_driver_without_a_gpu_or_a_gpu_without_a_driver(tmp_path: Path) -> None:
    assert find_gpu(machine(tmp_path / "a", "usr/lib64", "nvidiactl")) is None
    (machine(tmp_path / "b", "usr/lib64", "nvidia0") / "usr/lib64/libcuda.so.1").unlink()
    assert find_gpu(tmp_path / "b") is None


def test_some_of_the_gpus(tmp_path: Path) -> None:
    devices = ("nvidia0", "nvidia1", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm")
    found = find_gpu(machine(tmp_path, "usr/lib/x86_64-linux-gnu", *devices))
    assert found is not None
    assert found.some(0) is None
    assert found.some(ALL_GPUS) == found
    two = found.some(2)
    assert two is not None
    assert [device.name for device in two.devices] == ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]
    assert two.libraries == found.libraries
