"""What NVIDIA's driver says of this machine, asked through its own library (CUDA Driver API).

It can hang or crash, and CUDA does not survive a fork of the process that has asked, so survey.py asks in a child.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_ABSENT = re.compile(r"cannot open shared object file: No such file")
_MAPPED = re.compile(r"/libcuda\.so\.(\d{3,}(?:\.\d+)+)$", re.MULTILINE)
_MODULE = re.compile(r"^NVRM version:.*?\s(\d{3,}(?:\.\d+)+)\s", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    name: str
    capability: tuple[int, int]
    memory: int
    uuid: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """``unloadable``: why there is no driver's library. ``cuda`` is the newest version that the driver knows, as it
    says it (13000), ``driver`` its own version where that can be told. ``code`` is not 0 where it refuses to work,
    with ``error`` as its name for it."""

    unloadable: str = ""
    cuda: int = 0
    driver: str = ""
    code: int = 0
    error: str = ""
    gpus: tuple[Gpu, ...] = field(default_factory=tuple)

    @property
    def cuda_text(self) -> str:
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Seen:
        gpus = tuple(Gpu(**{**gpu, "capability": tuple(gpu["capability"])}) for gpu in value["gpus"])
        return cls(**{**value, "gpus": gpus})


def look() -> Seen:
    """Loads the driver and asks it; never raises for what it says."""
    try:
        cuda = ctypes.CDLL(LIBRARY)
        return _asked(cuda)
    except OSError as error:
        absent = _ABSENT.search(str(error)) and LIBRARY in str(error)
        return Seen(unloadable=f"{LIBRARY} is not there" if absent else str(error))
    except AttributeError as error:
        return Seen(unloadable=f"{LIBRARY} is no driver: {error}")


def _asked(cuda: ctypes.CDLL) -> Seen:
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    code = cuda.cuInit(0)
    driver = driver_version(_text("/proc/self/maps"), _text("/proc/driver/nvidia/version"))
    if code:
        return Seen(cuda=version.value, driver=driver, code=code, error=_name(cuda, code))
    count = ctypes.c_int()
    code = cuda.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return Seen(cuda=version.value, driver=driver, code=code, error=_name(cuda, code))
    gpus = tuple(_gpu(cuda, ordinal) for ordinal in range(count.value))
    return Seen(cuda=version.value, driver=driver, gpus=gpus)


def driver_version(maps: str, module: str) -> str:
    """Of the library in use, whose file is named after it, else of the kernel's module; empty where neither tells
    (WSL). The library may be newer than the module (forward compatibility), and is what counts."""
    found = _MAPPED.search(maps) or _MODULE.search(module)
    return found[1] if found else ""


def _gpu(cuda: ctypes.CDLL, ordinal: int) -> Gpu:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=(_attribute(cuda, _MAJOR, device), _attribute(cuda, _MINOR, device)),
        memory=memory.value,
        uuid=_uuid(cuda, device),
    )


def _attribute(cuda: ctypes.CDLL, which: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value


def _uuid(cuda: ctypes.CDLL, device: ctypes.c_int) -> str:
    """As nvidia-smi and NVML write it; of a part of a GPU (MIG) that part's, which NVML calls otherwise."""
    content = (ctypes.c_ubyte * 16)()
    ask = getattr(cuda, "cuDeviceGetUuid_v2", None)
    if ask is None or ask(ctypes.byref(content), device):
        return ""
    text = bytes(content).hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _name(cuda: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    if cuda.cuGetErrorName(code, ctypes.byref(name)) or not name.value:
        return f"error {code}"
    return name.value.decode()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
