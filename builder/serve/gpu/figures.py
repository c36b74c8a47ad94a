"""Figures of the GPU for /metrics, under Triton's names, from NVIDIA's management library (NVML API Reference).

A container without the driver capability ``utility`` has no such library, and then no such figures.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from ..device import Device
from ..observe.exposition import Family, Sample, gauge, labelled

LIBRARY = "libnvidia-ml.so.1"
_SAYS_WHERE = "1 when models run on the GPU that this image is for, 0 when on the CPU (MBUILD_ALLOW_CPU)"


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class GpuFigures:
    """Asked by one thread at a time. NVML survives a fork no better than CUDA does: made where it is asked."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._nvml, self._handle = _opened(device) if device.is_gpu else (None, ctypes.c_void_p())

    def families(self) -> Iterator[Family]:
        yield gauge("mbuild_gpu_serves", _SAYS_WHERE, int(self._device.is_gpu))
        if self._nvml is None:
            return
        labels = labelled({"gpu_uuid": f"GPU-{self._device.uuid}"})
        for name, about, value in self._values(self._nvml):
            yield Family(f"nv_gpu_{name}", "gauge", about, (Sample(value, labels),))

    def _values(self, nvml: ctypes.CDLL) -> Iterator[tuple[str, str, float]]:
        """What the GPU does not tell is left out: a part of one (MIG) has no utilisation or power of its own."""
        rates, memory, milliwatts = _Utilization(), _Memory(), ctypes.c_uint()
        if not nvml.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(rates)):
            yield "utilization", "GPU utilization rate [0.0 - 1.0]", rates.gpu / 100
        if not nvml.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)):
            yield "memory_total_bytes", "GPU total memory, in bytes", memory.total
            yield "memory_used_bytes", "GPU used memory, in bytes", memory.used
        if not nvml.nvmlDeviceGetPowerUsage(self._handle, ctypes.byref(milliwatts)):
            yield "power_usage", "GPU power usage in watts", milliwatts.value / 1000


def _opened(device: Device) -> tuple[ctypes.CDLL | None, ctypes.c_void_p]:
    handle = ctypes.c_void_p()
    try:
        nvml = ctypes.CDLL(LIBRARY)
        if nvml.nvmlInit_v2():
            return None, handle
        for prefix in ("GPU-", "MIG-"):
            if not nvml.nvmlDeviceGetHandleByUUID(f"{prefix}{device.uuid}".encode(), ctypes.byref(handle)):
                return nvml, handle
    except (OSError, AttributeError):
        pass
    return None, handle
