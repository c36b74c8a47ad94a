"""Whether an image and a machine fit: a device, or one sentence that says what is wrong and what to do. Pure."""

from __future__ import annotations

from ..device import Device, GpuUnusable
from ..settings import Settings
from ..starting import CannotStart
from .driver import Gpu, Seen
from .image import GpuImage
from .options import options_below, options_for

_SHOW = "start the container with --gpus all (Docker) or a limit of nvidia.com/gpu (Kubernetes)"
_NO_DEVICE = 100
_CODES = {
    34: (
        "libcuda.so.1 is a stub for linking programs, not the driver",
        "take the stub out of the library path, or update the NVIDIA container toolkit",
    ),
    _NO_DEVICE: (
        "the driver is here, and shows no GPU",
        f"{_SHOW}, and look at NVIDIA_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES",
    ),
    46: ("another process has the GPU for itself", "end that, or set the GPU's compute mode to DEFAULT"),
    802: (
        "the driver is here, and is not ready",
        "start the service nvidia-fabricmanager on the machine, which GPUs behind NVSwitch need",
    ),
    803: (
        "the driver's library and the kernel's module are of different versions",
        "reboot the machine after an update of the driver",
    ),
    804: (
        "the driver's compatibility package (cuda-compat) does not work with this GPU",
        "update the driver itself",
    ),
}
_OTHERWISE = "see that nvidia-smi works on the machine and in a container there"


class NoSuchGpu(CannotStart):
    """Not lifted by MBUILD_ALLOW_CPU: there are GPUs."""

    is_plain = True


def device_for(image: GpuImage, seen: Seen, settings: Settings) -> Device:
    """Where sessions are to run. Raises GpuUnusable, and CannotStart for a setting that cannot be meant."""
    _require_driver(image, seen)
    number = settings.gpu_device
    if number >= len(seen.gpus):
        there = ", ".join(f"{each} ({gpu.name})" for each, gpu in enumerate(seen.gpus))
        raise NoSuchGpu(f"MBUILD_GPU_DEVICE is {number}, and the GPUs here are {there}.")
    gpu = seen.gpus[number]
    _require_code(image, seen, number)
    return Device(
        provider=image.provider,
        wanted=image.provider,
        name=f"GPU {number}: {gpu.name}",
        uuid=gpu.uuid,
        options=options_for(image.provider, settings),
        plugin=image.plugin,
        capability=gpu.capability,
        is_exact=not settings.gpu_tf32,
        below=options_below(image.provider, settings),
        engine_cache=settings.gpu_engine_cache,
    )


def _require_driver(image: GpuImage, seen: Seen) -> None:
    if seen.unloadable:
        raise GpuUnusable(
            f"This image needs an NVIDIA GPU, and the container sees no driver ({seen.unloadable})", _SHOW
        )
    if seen.cuda // 1000 < image.cuda[0] or _is_older(seen.driver, image.driver):
        here = f"driver {seen.driver}, for" if seen.driver else "a driver for"
        raise GpuUnusable(
            f"This image is built with CUDA {image.cuda_text} and needs NVIDIA's driver {image.driver} or newer; "
            f"here is {here} CUDA {seen.cuda_text} and older",
            "update the driver, or build with a --target for an older CUDA",
        )
    if seen.code:
        why, advice = _CODES.get(seen.code, ("the driver does not work", _OTHERWISE))
        raise GpuUnusable(f"This image needs an NVIDIA GPU, and {why} (cuInit: {seen.error})", advice)
    if not seen.gpus:
        why, advice = _CODES[_NO_DEVICE]
        raise GpuUnusable(f"This image needs an NVIDIA GPU, and {why}", advice)


def _require_code(image: GpuImage, seen: Seen, number: int) -> None:
    gpu = seen.gpus[number]
    if image.has_code_for(gpu.capability):
        return
    called = f"GPU {number} ({gpu.name}) has compute capability {_text(gpu)}"
    if not image.compiles_for(gpu.capability):
        others = [each for each, other in enumerate(seen.gpus) if _is_served(image, other)]
        advice = f"set MBUILD_GPU_DEVICE={others[0]}, which is one of those" if others else "run it on one of those"
        ptx = f" and newer than {image.ptx}" if image.ptx else ""
        raise GpuUnusable(f"{called}, and this image has code for {', '.join(image.capabilities)}{ptx}", advice)
    if seen.cuda < 1000 * image.cuda[0] + 10 * image.cuda[1]:  # an older driver cannot read newer PTX
        raise GpuUnusable(
            f"{called}, for which this image's code must be compiled by a driver for CUDA {image.cuda_text} or newer; "
            f"the one here is for CUDA {seen.cuda_text} and older",
            "update the driver",
        )


def _is_served(image: GpuImage, gpu: Gpu) -> bool:
    return image.has_code_for(gpu.capability) or image.compiles_for(gpu.capability)


def _is_older(version: str, oldest: str) -> bool:
    """Where either is not known, the version of CUDA has to do."""
    return bool(version and oldest) and _numbers(version) < _numbers(oldest)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _text(gpu: Gpu) -> str:
    return ".".join(map(str, gpu.capability))
