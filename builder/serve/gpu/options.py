"""What an execution provider is told (onnxruntime, "CUDA Execution Provider", provider options)."""

from __future__ import annotations

from ..device import CUDA_PROVIDER, TENSORRT_PROVIDER
from ..settings import Settings


def options_for(provider: str, settings: Settings) -> dict[str, str]:
    """Of a provider that is not listed here: none but the device."""
    options = {"device_id": str(settings.gpu_device)}
    if provider != CUDA_PROVIDER:
        return options
    options |= {
        # Else each new size of a batch would be timed with every algorithm, for seconds.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Else the arena doubles, and takes up to twice what is needed from whoever shares the GPU.
        "arena_extend_strategy": "kSameAsRequested",
        # The golden cases were answered in FP32; TF32 keeps three digits of it.
        "use_tf32": str(settings.gpu_tf32),
    }
    if settings.gpu_memory_limit:
        options["gpu_mem_limit"] = str(settings.gpu_memory_limit)
    return options


def options_below(provider: str, settings: Settings) -> dict[str, dict[str, str]]:
    """Of the providers that take what ``provider`` leaves: onnxruntime's TensorRT gives nodes that it does not know to
    CUDA."""
    names = (CUDA_PROVIDER,) if provider == TENSORRT_PROVIDER else ()
    return {name: options_for(name, settings) for name in names}
