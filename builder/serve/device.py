"""Where models run: the CPU, or the GPU that an image is for (``gpu/`` finds out about that)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .limits import available
from .settings import GPU_FACTS, Settings
from .starting import CannotStart

if TYPE_CHECKING:
    from .gpu.survey import Survey
    from .observe.logs import Log

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
_THREADS = 4
"""Runs at once on a GPU, which each take memory of it."""


class GpuUnusable(CannotStart):
    """``why`` is a sentence without its full stop, ``advice`` what to do about it."""

    is_plain = True

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(f"{why}: {advice}, or set MBUILD_ALLOW_CPU=1 to run on the CPU.")
        self.why = f"{why}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """``wanted`` is the provider that the image is for, empty in one for the CPU. ``why`` says why ``provider`` is
    another; ``name`` is what people call a GPU, ``uuid`` what its driver does. ``plugin`` is the library that has the
    provider, where that is not onnxruntime, and ``engine`` says in words what it runs of a model. ``below`` are
    providers, with their options, for what that one does not take; ``engine_cache`` keeps what it compiles.
    ``run_threads``: how many of the CPU a run has."""

    provider: str = CPU_PROVIDER
    wanted: str = ""
    why: str = ""
    name: str = ""
    uuid: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    is_exact: bool = True
    """Products of FP32 are computed in FP32."""
    plugin: str = ""
    capability: tuple[int, int] = (0, 0)
    engine: str = ""
    below: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    engine_cache: str = ""
    run_threads: int = 1

    @property
    def is_gpu(self) -> bool:
        return self.provider != CPU_PROVIDER

    @property
    def said(self) -> dict[str, str]:
        """What clients read about it; nothing in an image for the CPU."""
        if not self.wanted:
            return {}
        told = {"provider": self.provider, "device": self.name or "CPU"}
        if self.engine:
            told["engine"] = self.engine
        return {**told, "wanted_provider": self.wanted, "reason": self.why} if self.why else told

    def told(self, options: Mapping[str, str]) -> Device:
        """With further options of its provider."""
        return replace(self, options={**self.options, **options})

    def instead(self, why: str) -> Device:
        """The CPU in its place."""
        return Device(wanted=self.wanted, why=why)


CPU = Device()


def device_in(settings: Settings, survey: Survey | None, log: Log) -> Device:
    """Where models run by what was found so far. Raises CannotStart."""
    return replace(survey.device(log) if survey else CPU, run_threads=settings.run_threads)


def usual_threads(device: Device) -> int:
    return min(_THREADS, available()) if device.is_gpu else max(1, available() // device.run_threads)


def begin_survey(settings: Settings) -> Survey | None:
    """None in an image for the CPU. No thread may run yet. Raises CannotStart."""
    file = Path(settings.gpu_facts)
    if not file.exists():
        if settings.gpu_facts != GPU_FACTS:
            raise CannotStart(f"MBUILD_GPU_FACTS: {file} is not there.")
        return None
    from .gpu.survey import Survey

    return Survey.begin(file, settings)
