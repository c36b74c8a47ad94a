"""A session of onnxruntime on a GPU, or none: onnxruntime itself would go on with the processor, and say nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
from mbuild_serve.device import CPU_PROVIDER
from mbuild_serve.gpu.image import GpuImage
from mbuild_serve.gpu.libraries import missing
from mbuild_serve.gpu.options import options_for
from mbuild_serve.settings import Settings


def open_session(place: str, options: Any, gpu: int) -> Any:
    """The graph at ``place`` on the GPU of that number. Raises whatever keeps it from there."""
    settings = replace(Settings.from_environ(os.environ), gpu_device=gpu)
    wanted = GpuImage.read(Path(settings.gpu_facts)).provider
    session = onnxruntime.InferenceSession(
        place,
        options,
        providers=[wanted, CPU_PROVIDER],  # shapes are computed on the processor
        provider_options=[options_for(wanted, settings), {}],
        enable_fallback=0,
    )
    if session.get_providers()[0] != wanted:
        why = missing(wanted, Path(onnxruntime.__file__).parent) or "onnxruntime does not say why"
        raise RuntimeError(f"onnxruntime cannot use {wanted}: {why}")
    return session
