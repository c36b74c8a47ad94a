"""Whether an image and a machine fit is decided from what each says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.serve.device import CPU, TENSORRT_PROVIDER, Device, GpuUnusable, usual_threads
from builder.serve.gpu.driver import Gpu, Seen, driver_version
from builder.serve.gpu.image import GpuImage
from builder.serve.gpu.libraries import reason
from builder.serve.gpu.options import options_below, options_for
from builder.serve.gpu.verdict import NoSuchGpu, device_for
from builder.serve.settings import Settings
from tests.support.gpu_images import write_gpu_json

CUDA = "CUDAExecutionProvider"


@pytest.fixture
def image(tmp_path: Path) -> GpuImage:
    return GpuImage.read(write_gpu_json(tmp_path))


def gpu(major: int, minor: int) -> Gpu:
    return Gpu(name=f"Card {major}.{minor}", capability=(major, minor), memory=1, uuid="u")


def seen(*gpus: Gpu, cuda: int = 13000, driver: str = "580.95.05") -> Seen:
    return Seen(cuda=cuda, driver=driver, gpus=gpus)


@pytest.mark.parametrize(
    ("capability", "has_code", "compiles"),
    [
        ((7, 0), False, False),
        ((7, 5), True, False),
        ((8, 7), True, False),
        ((9, 0), True, False),
        ((9, 1), False, False),
        ((10, 3), True, False),
        ((11, 0), False, False),
        ((12, 1), True, True),
        ((13, 0), False, True),
    ],
)
def test_which_gpus_an_image_has_code_for(
    image: GpuImage, capability: tuple[int, int], has_code: bool, compiles: bool
) -> None:
    assert (image.has_code_for(capability), image.compiles_for(capability)) == (has_code, compiles)


def test_code_for_exactly_one_capability_is_no_ptx_for_others(image: GpuImage) -> None:
    assert not replace(image, ptx="9.0a").compiles_for((12, 0))
    assert not replace(image, ptx="").compiles_for((12, 0))


def test_a_provider_that_is_a_library_of_its_own(tmp_path: Path) -> None:
    facts = write_gpu_json(tmp_path, provider="nv_tensorrt_rtx", plugin="rtx/lib.so", capabilities=["8.6"], ptx="")
    image = GpuImage.read(facts)
    found = device_for(image, seen(gpu(8, 6)), Settings())
    assert (found.provider, found.plugin, found.capability) == ("nv_tensorrt_rtx", "rtx/lib.so", (8, 6))
    assert found.options == {"device_id": "0"}
    assert "engine" not in found.said
    assert replace(found, engine="engine for 8.6").said["engine"] == "engine for 8.6"
    assert found.instead("why").plugin == ""


def test_a_gpu_that_fits(image: GpuImage) -> None:
    found = device_for(image, seen(gpu(8, 9), gpu(9, 0)), Settings(gpu_device=1))
    assert found == Device(
        provider=CUDA,
        wanted=CUDA,
        name="GPU 1: Card 9.0",
        uuid="u",
        options={
            "device_id": "1",
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "0",
        },
        capability=(9, 0),
    )
    assert found.said == {"provider": CUDA, "device": "GPU 1: Card 9.0"}


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (
            Seen(unloadable="libcuda.so.1 is no driver: x"),
            "the container sees no driver (libcuda.so.1 is no driver: x)",
        ),
        (seen(gpu(9, 0), cuda=12080, driver=""), "here is a driver for CUDA 12.8 and older: update the driver"),
        (Seen(cuda=12080, driver="570.1.2", code=803, error="X"), "here is driver 570.1.2, for CUDA 12.8 and older"),
        (Seen(cuda=13000, code=803, error="MISMATCH"), "of different versions (cuInit: MISMATCH): reboot the machine"),
        (
            seen(gpu(6, 1)),
            "compute capability 6.1, and this image has code for 7.5, 8.0, 8.6, 8.9, 9.0a, 10.0, 12.0 and",
        ),
        (seen(gpu(6, 1)), "newer than 12.0: run it on one of those, or set MBUILD_ALLOW_CPU=1 to run on the CPU."),
    ],
)
def test_what_does_not_fit_is_a_sentence(image: GpuImage, machine: Seen, says: str) -> None:
    with pytest.raises(GpuUnusable) as raised:
        device_for(image, machine, Settings())
    assert says in str(raised.value)
    assert str(raised.value).startswith(raised.value.why[:-1]) and "\n" not in str(raised.value)


def test_an_older_driver_of_the_same_cuda_runs_compiled_code_and_compiles_none(tmp_path: Path) -> None:
    built = GpuImage.read(
        write_gpu_json(tmp_path, cuda="12.8", driver="525.60.13", capabilities=["8.0", "9.0a"], ptx="9.0")
    )
    old = seen(gpu(8, 6), gpu(12, 0), cuda=12020, driver="535.104.05")
    assert device_for(built, old, Settings()).name == "GPU 0: Card 8.6"
    with pytest.raises(
        GpuUnusable, match=r"compiled by a driver for CUDA 12\.8 or newer; the one here is for CUDA 12\.2"
    ):
        device_for(built, old, Settings(gpu_device=1))
    assert device_for(built, replace(old, cuda=13000), Settings(gpu_device=1)).is_gpu


def test_a_gpu_that_is_not_there_is_a_mistake_of_the_settings(image: GpuImage) -> None:
    with pytest.raises(NoSuchGpu, match=r"MBUILD_GPU_DEVICE is 1, and the GPUs here are 0 \(Card 9\.0\)\.$"):
        device_for(image, seen(gpu(9, 0)), Settings(gpu_device=1))


def test_what_a_provider_is_told() -> None:
    told = options_for(CUDA, Settings(gpu_memory_limit=2**30, gpu_tf32=1))
    assert (told["gpu_mem_limit"], told["use_tf32"]) == (str(2**30), "1")
    assert options_for(TENSORRT_PROVIDER, Settings(gpu_device=3)) == {"device_id": "3"}


def test_what_tensorrt_does_not_take_goes_to_cuda_with_its_usual_options(tmp_path: Path) -> None:
    settings = Settings(gpu_device=1, gpu_engine_cache="/cache")
    full = GpuImage.read(write_gpu_json(tmp_path, provider=TENSORRT_PROVIDER))
    device = device_for(full, seen(gpu(8, 9), gpu(9, 0)), settings)
    assert (device.provider, device.engine_cache) == (TENSORRT_PROVIDER, "/cache")
    assert device.below == {CUDA: options_for(CUDA, settings)}
    assert options_below(CUDA, settings) == options_below("nv_tensorrt_rtx", settings) == {}


def test_the_version_is_that_of_the_library_in_use() -> None:
    maps = "7f00-7f01 r-xp 00000000 00:2e 123   /usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06\n"
    module = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12\n"
    )
    opened = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)\n"
    assert driver_version(maps, module) == "580.65.06"
    assert driver_version("7f00-7f01 r-xp 0 00:2e 1 /usr/lib/wsl/lib/libcuda.so.1.1\n", "") == ""
    assert (driver_version("", module), driver_version("", opened)) == ("535.104.05", "580.95.05")


def test_an_answer_travels_between_processes_whole() -> None:
    told = seen(gpu(8, 9), gpu(9, 0))
    assert Seen.from_json(told.to_json()) == told


def test_the_loaders_words() -> None:
    absent = "libcublasLt.so.13: cannot open shared object file: No such file or directory"
    assert reason(absent) == "libcublasLt.so.13 is not there"
    symbol = "/opt/x/libonnxruntime_providers_cuda.so: undefined symbol: cudaGraphLaunch, version libcudart.so.13"
    assert reason(symbol).startswith("libonnxruntime_providers_cuda.so: undefined symbol: cudaGraphLaunch")


def test_a_gpu_does_a_few_runs_at_once_whatever_the_processors() -> None:
    assert usual_threads(Device(provider=CUDA)) <= 4
    assert usual_threads(CPU) >= 1 and CPU.said == {}
