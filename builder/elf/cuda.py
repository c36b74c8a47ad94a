"""What no header says of NVIDIA's libraries: which of them open others by name while they run, and what the parts of a
GPU image (builder/plan/gpu.py) are made of. Held against the names in the texts of CUDA 12.9 and 13.0, cuDNN 9.12 and
9.20.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from pathlib import PurePosixPath

from builder.elf.closure import OPTIONAL_PLUGINS, Closure, Problem
from builder.elf.gpu_code import GpuCode, runs_on
from builder.elf.tree import LibraryTree

OPENED = {
    "libcudnn": ("libcudnn_graph",),
    "libcudnn_cnn": ("libcudnn_heuristic", "libcudnn_engines_precompiled", "libcudnn_engines_runtime_compiled"),
    "libcudnn_engines_runtime_compiled": ("libnvrtc",),
    "libcufft": ("libnvJitLink",),
}
"""By library (its name up to ``.so``), what it opens and does not do without."""

OPENED_AT_NEED = {
    "libcudnn": ("libcudnn_adv", "libcudnn_cnn", "libcudnn_ops"),
    "libonnxruntime_providers_cuda": ("libcudnn", "libcufft"),
}
"""The same for what it does without as long as no model needs it."""

PARTS = {
    "cublas": ("libcublas", "libcublasLt"),
    "cudart": ("libcudart",),
    "cudnn": ("libcudnn", "libcudnn_graph"),
    "cudnn-adv": ("libcudnn_adv",),
    "cudnn-cnn": ("libcudnn_cnn", *OPENED["libcudnn_cnn"]),
    "cudnn-ops": ("libcudnn_ops",),
    "cufft": ("libcufft",),
    "curand": ("libcurand",),
    "nvjitlink": ("libnvJitLink",),
    "nvrtc": ("libnvrtc", "libnvrtc-builtins"),
    "tensorrt": ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"),
}
"""By part, the libraries without which it is not there."""

CALLED_WITH = {"nvjitlink": "libcufft"}
"""By part, the library that opens it at its first work: an image without the part says that nobody calls that library
(builder/plan/gpu_parts.py)."""

_CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"

PROVIDERS = {
    "CUDAExecutionProvider": (_CUDA_PROVIDER,),
    "TensorrtExecutionProvider": ("libonnxruntime_providers_tensorrt.so", _CUDA_PROVIDER),
}
"""By execution provider of onnxruntime, its library, and last the one whose code for GPUs tells what it serves."""

_WHEELS = {
    "cublas": "nvidia-cublas",
    "cudart": "nvidia-cuda-runtime",
    "cudnn": "nvidia-cudnn",
    "cufft": "nvidia-cufft",
    "curand": "nvidia-curand",
    "nvjitlink": "nvidia-nvjitlink",
    "nvrtc": "nvidia-cuda-nvrtc",
}
_LAST_NAMED_BY_MAJOR = 12

CODE_OF_ITS_OWN = frozenset({"libcufft", "libnvinfer", "libnvinfer_plugin"})
"""Libraries whose fat binary does not tell what they serve: kernels of cuFFT are in a form of its own, of which
nvJitLink makes code when they run, and those of TensorRT in libraries beside it."""


def optional_plugins(provider: str) -> frozenset[str]:
    """Files that need not be loadable where that is the provider: its own libraries must be."""
    return OPTIONAL_PLUGINS - set(PROVIDERS.get(provider, ()))


def stem(path: PurePosixPath) -> str:
    """``libcudnn_ops`` of ``libcudnn_ops.so.9``."""
    return path.name.partition(".so")[0]


def wheel_with(library: str, cuda: int) -> str:
    """The wheel that has a library of CUDA, by the names that NVIDIA gives its wheels; empty for any other library."""
    part = next((part for part, names in PARTS.items() if stem(PurePosixPath(library)) in names), "")
    name = _WHEELS.get(part.partition("-")[0], "")
    by_major = name == "nvidia-cudnn" or cuda <= _LAST_NAMED_BY_MAJOR
    return f"{name}-cu{cuda}" if name and by_major else name


def openers(library: PurePosixPath, closure: Closure) -> Iterator[PurePosixPath]:
    """Which files open a library by name while they run."""
    for file, elf in sorted(closure.tree.elves.items()):
        names = (*OPENED.get(stem(file), ()), *OPENED_AT_NEED.get(stem(file), ()))
        if library.name in elf.opens or stem(library) in names:
            yield file


def opened_problems(closure: Closure, idle: Container[str] = ()) -> Iterator[Problem]:
    """What the libraries that are there open while they run, and would not find. ``idle`` are some (their names up to
    ``.so``) that nobody calls: an image has them only since another library is linked against them."""
    for file, elf in sorted(closure.tree.elves.items()):
        for name in elf.opens:
            if not closure.find(name, file):
                yield Problem(file=file, text=f"opens {name} while it runs, which the loader does not find")
        for other in OPENED.get(stem(file), ()) if stem(file) not in idle else ():
            if not any(closure.find(path.name, file) for path in libraries_called(other, closure.tree)):
                yield Problem(file=file, text=f"opens {other}.so while it runs, which the loader does not find")


def part_problems(parts: Iterable[str], tree: LibraryTree) -> Iterator[str]:
    """Parts that are said to be there and are not, or not whole; of parts with other names nothing is known."""
    for part in parts:
        missing = [f"{name}.so" for name in PARTS.get(part, ()) if not libraries_called(name, tree)]
        if missing:
            yield f"has the part {part}, but not {', '.join(missing)}"


def libraries_called(name: str, tree: LibraryTree) -> tuple[PurePosixPath, ...]:
    """The ELF files ``name.so``, with or without numbers behind."""
    return tuple(path for path in tree.elves if re.fullmatch(rf"{re.escape(name)}\.so[.\d]*", path.name))


def claimed(capability: str, *, is_ptx: bool = False) -> GpuCode:
    """The code that a capability as ``9.0a`` stands for; ValueError for anything else."""
    match = re.fullmatch(r"(\d+)\.(\d)([af]?)", capability)
    if not match:
        raise ValueError(f"{capability!r} is no compute capability")
    return GpuCode(capability=(int(match[1]), int(match[2])), suffix=match[3], is_ptx=is_ptx)


def code_problems(claims: Iterable[GpuCode], provider: PurePosixPath, closure: Closure) -> Iterator[Problem]:
    """Claims that onnxruntime's provider has no code for, or that a library it works with cannot serve."""
    claims = tuple(claims)
    own = closure.tree.elves[provider].gpu
    for claim in claims:
        if claim not in own:
            has = ", ".join(map(str, own)) or "none"
            yield Problem(file=provider, text=f"has no code {claim}, which the image claims (it has {has})")
    with_code = {name for names in PARTS.values() for name in names} - CODE_OF_ITS_OWN
    for file, elf in sorted(closure.tree.elves.items()):
        for claim in claims if elf.gpu and stem(file) in with_code else ():
            if not claim.is_ptx and not runs_on(elf.gpu, claim.capability):
                text = f"has no code that runs on {claim.capability[0]}.{claim.capability[1]}, which the image claims"
                yield Problem(file=file, text=text)
