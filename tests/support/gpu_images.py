"""What a GPU image has beside its libraries, and a driver without a GPU behind it (stub_cuda.c), for tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

CUDA13: dict[str, object] = {
    "schema": 1,
    "target": "cuda13",
    "provider": "CUDAExecutionProvider",
    "cuda": "13.0",
    "driver": "580.65.06",
    "capabilities": ["7.5", "8.0", "8.6", "8.9", "9.0a", "10.0", "12.0"],
    "ptx": "12.0",
    "parts": {"cublas": "all of them", "cudart": "all of them"},
}


def write_gpu_json(folder: Path, **changes: object) -> Path:
    """``gpu.json`` of a cuda13 image, with ``changes``."""
    file = folder / "gpu.json"
    file.write_text(json.dumps({**CUDA13, **changes}))
    return file


def build_stub_driver(folder: Path, version: str = "580.95.05") -> Path:
    """The directory with libcuda.so.1, a link to a file named after the driver's version as NVIDIA's is."""
    library = _compiled(folder / f"libcuda.so.{version}", "libcuda.so.1", "stub_cuda.c")
    (folder / "libcuda.so.1").symlink_to(library.name)
    return folder


def build_stub_plugin(folder: Path) -> Path:
    """A plugin of onnxruntime's without a provider."""
    return _compiled(folder / "libplugin.so", "libplugin.so", "stub_plugin.c")


def build_rtx_driver(folder: Path) -> Path:
    """As ``build_stub_driver``, with all that the plugin of TensorRT-RTX is linked against."""
    _compiled(folder / "libcuda.so.1", "libcuda.so.1", "stub_cuda.c", "stub_rtx.c")
    _compiled(folder / "libnvidia-ml.so.1", "libnvidia-ml.so.1", "stub_rtx.c")
    return folder


def _compiled(library: Path, soname: str, *sources: str) -> Path:
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{soname}"]
    places = [str(Path(__file__).with_name(source)) for source in sources]
    subprocess.run(["gcc", *flags, "-o", str(library), *places], check=True)
    return library
