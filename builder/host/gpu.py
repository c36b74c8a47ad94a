"""NVIDIA GPUs of this machine, and what of their driver a container is given: device files and libraries.

What NVIDIA's container toolkit mounts for the driver capabilities ``compute`` and ``utility``, without its hooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.elf.loader_cache import PLACE, BrokenLoaderCache, read_loader_cache
from builder.host.container import ALL_GPUS

DRIVER = "libcuda.so.1"
_DEVICE = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")
_NUMBERED = re.compile(r"nvidia\d+")
_LIBRARY = re.compile(r"libcuda\.so\.1|libnvidia-(ml|ptxjitcompiler|nvvm|nvvm70|gpucomp|tileiras)\.so\.[\d.]+")
_PLACES = (
    *("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"),
    *("/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostGpu:
    """``devices`` are device files; ``libraries`` the driver's, by the name that is asked for."""

    devices: tuple[Path, ...]
    libraries: tuple[tuple[str, Path], ...]

    def some(self, number: int) -> HostGpu | None:
        """The first ``number`` GPUs of this machine, or ALL_GPUS; None for none."""
        if number in (0, ALL_GPUS):
            return self if number else None
        numbered = sorted((int(path.name[6:]), path) for path in self.devices if _NUMBERED.fullmatch(path.name))
        left_out = {path for _, path in numbered[number:]}
        return replace(self, devices=tuple(path for path in self.devices if path not in left_out))


def find_gpu(root: Path = Path("/"), search: str = "") -> HostGpu | None:
    """None where there is no GPU with a driver; ``search`` is LD_LIBRARY_PATH."""
    devices = _devices(root)
    if not any(_NUMBERED.fullmatch(device.name) for device in devices):
        return None
    for place in _places(root, search):
        libraries = tuple(_libraries(place))
        if any(name == DRIVER for name, _ in libraries):
            return HostGpu(devices=devices, libraries=libraries)
    return None


def _devices(root: Path) -> tuple[Path, ...]:
    place = root / "dev"
    named = [path for path in place.glob("nvidia*") if _DEVICE.fullmatch(path.name) and not path.is_dir()]
    parts = (place / "nvidia-caps").glob("nvidia-cap*")  # of a GPU that is parted (MIG)
    return tuple(sorted([*named, *parts]))


def _libraries(place: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(place.glob("lib*.so.*")):
        if _LIBRARY.fullmatch(path.name) and path.exists():
            yield path.name, path.resolve()


def _places(root: Path, search: str) -> Iterator[Path]:
    """Directories in which the loader would look for the driver, each once."""
    cached: Iterable[PurePosixPath] = ()
    try:
        entries = read_loader_cache((root / str(PLACE).lstrip("/")).read_bytes())
        cached = [entry.path.parent for entry in entries if entry.soname == DRIVER]
    except (OSError, BrokenLoaderCache):
        pass
    names = [*filter(None, search.split(":")), *map(str, cached), *_PLACES]
    for name in dict.fromkeys(names):
        yield root / name.lstrip("/")
