"""Where a graph of a Triton image runs on a GPU: as the image and its variables say."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mbuild_serve.gpu import session
from mbuild_serve.gpu.image import GpuImage
from mbuild_serve.gpu.options import options_below, options_for
from mbuild_serve.settings import Settings


def open_session(place: str, options: Any, gpu: int) -> Any:
    """The graph at ``place`` on the GPU of that number. Raises whatever keeps it from there."""
    settings = replace(Settings.from_environ(os.environ), gpu_device=gpu)
    wanted = GpuImage.read(Path(settings.gpu_facts)).provider
    providers = {wanted: options_for(wanted, settings), **options_below(wanted, settings)}
    return session.open_session(Path(place), options, providers)
