"""A set of packages with libraries: does it close over a base, and what is each of them there for."""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.elf import ElfFacts
from builder.elf.cuda import claimed, wheel_with
from builder.elf.gpu_code import GpuCode
from builder.elf.library_set import LibrarySet, OwnedLibrary
from builder.elf.versions import ElfSymbols

PROVIDER = PurePosixPath("/site/onnxruntime/capi/libonnxruntime_providers_cuda.so")
CODE = (GpuCode.named("sm_90a"), GpuCode.named("compute_90"))


def library(
    owner: str,
    path: str,
    *needed: str,
    soname: str = "",
    wanted: tuple[tuple[str, str, str], ...] = (),
    offered: tuple[tuple[str, str], ...] = (),
    gpu: tuple[GpuCode, ...] = (),
) -> OwnedLibrary:
    name = path.rpartition("/")[2]
    versions = tuple(dict.fromkeys(version for version, _ in offered))
    facts = ElfFacts(machine="EM_X86_64", soname=soname or name, needed=needed, defines=versions, gpu=gpu)
    symbols = ElfSymbols(wanted=frozenset(wanted), offered=frozenset(offered))
    return OwnedLibrary(owner=owner, path=PurePosixPath(path), elf=facts, symbols=symbols)


LIBC = library("", "/usr/lib/x86_64-linux-gnu/libc.so.6", offered=(("GLIBC_2.2.5", "malloc"),))
CUDA_PROVIDER = library(
    "onnxruntime-gpu 1.28.0", str(PROVIDER), "libcublasLt.so.13", "libcudart.so.13", "libc.so.6", "libcuda.so.1",
    wanted=(
        ("libcudart.so.13", "libcudart.so.13", "cudaMalloc"), ("libc.so.6", "GLIBC_2.2.5", "malloc"),
        ("libcuda.so.1", "libcuda.so.1", "cuInit"),
    ),
    gpu=CODE,
)  # fmt: skip
CUDART = library(
    "nvidia-cuda-runtime 13.0.96", "/site/nvidia/lib/libcudart.so.13", offered=(("libcudart.so.13", "cudaMalloc"),)
)
BLAS = library("nvidia-cublas 13.1.2.11", "/site/nvidia/lib/libcublasLt.so.13", "libc.so.6", gpu=CODE)
CUFFT = library("nvidia-cufft 12.0.0.61", "/site/nvidia/lib/libcufft.so.12")
LINKER = library("nvidia-nvjitlink 13.0.88", "/site/nvidia/lib/libnvJitLink.so.13")
ALL = (LIBC, CUDA_PROVIDER, CUDART, BLAS, CUFFT, LINKER)


def problems(*libraries: OwnedLibrary, claims: tuple[str, ...] = ("9.0a",)) -> tuple[str, ...]:
    made = LibrarySet(
        libraries=libraries, architecture="amd64", cuda=13, claims=tuple(map(claimed, claims)), provider=PROVIDER
    )
    return made.problems()


def without(gone: OwnedLibrary) -> tuple[OwnedLibrary, ...]:
    return tuple(one for one in ALL if one is not gone)


def test_a_set_that_closes_and_what_it_is_for() -> None:
    assert problems(*ALL) == ()
    assert LibrarySet(libraries=ALL, architecture="amd64", cuda=13).reasons() == {
        "nvidia-cublas 13.1.2.11": "libcublasLt.so.13, needed by libonnxruntime_providers_cuda.so",
        "nvidia-cuda-runtime 13.0.96": "libcudart.so.13, needed by libonnxruntime_providers_cuda.so",
        "nvidia-cufft 12.0.0.61": "libcufft.so.12, opened by libonnxruntime_providers_cuda.so",
        "nvidia-nvjitlink 13.0.88": "libnvJitLink.so.13, opened by libcufft.so.12",
        "onnxruntime-gpu 1.28.0": "libonnxruntime_providers_cuda.so",
    }


def test_a_library_of_which_nothing_is_called_is_told() -> None:
    provider = library(CUDA_PROVIDER.owner, str(PROVIDER), "libcurand.so.10")
    unused = library("nvidia-curand 10", "/site/nvidia/lib/libcurand.so.10", offered=(("libcurand.so.10", "draw"),))
    made = LibrarySet(libraries=(provider, unused), architecture="amd64", cuda=13)
    why = "needed by libonnxruntime_providers_cuda.so, which calls nothing of it"
    assert made.reasons()["nvidia-curand 10"] == f"libcurand.so.10, {why}"


def test_a_library_that_is_missing_is_told_with_the_wheel_that_has_it() -> None:
    assert problems(*without(BLAS)) == (
        "onnxruntime-gpu 1.28.0: libonnxruntime_providers_cuda.so needs libcublasLt.so.13, which no part has; "
        "nvidia-cublas brings it",
    )
    assert problems(*without(LIBC)) == (
        "nvidia-cublas 13.1.2.11: libcublasLt.so.13 needs libc.so.6, which no part has",
        "onnxruntime-gpu 1.28.0: libonnxruntime_providers_cuda.so needs libc.so.6, which no part has",
    )
    (told,) = problems(*without(LINKER))
    assert told.startswith("nvidia-cufft 12.0.0.61: libcufft.so.12 opens libnvJitLink.so while it runs")


def test_a_symbol_that_an_older_library_lacks_is_told() -> None:
    old = library(CUDART.owner, str(CUDART.path), offered=(("libcudart.so.13", "cudaFree"),))
    assert problems(*without(CUDART), old) == (
        "onnxruntime-gpu 1.28.0: libonnxruntime_providers_cuda.so calls cudaMalloc (libcudart.so.13), which "
        "nvidia-cuda-runtime 13.0.96 does not define",
    )
    elsewhere = library("other 1", "/site/other/libother.so", offered=(("libcudart.so.13", "cudaMalloc"),))
    assert problems(*without(CUDART), old, elsewhere) == (), "the loader looks in all that is loaded"


def test_a_library_must_be_found_by_its_own_name() -> None:
    renamed = library(LINKER.owner, "/site/nvidia/lib/libnvJitLink.so", soname="libnvJitLink.so.13")
    (told,) = problems(*without(LINKER), renamed)
    assert told == (
        "nvidia-nvjitlink 13.0.88: libnvJitLink.so is asked for as libnvJitLink.so.13, for which there is no link"
    )
    links = {PurePosixPath("/site/nvidia/lib/libnvJitLink.so.13"): "libnvJitLink.so"}
    libraries = (*without(LINKER), renamed)
    assert LibrarySet(libraries=libraries, architecture="amd64", cuda=13, links=links).problems() == ()


def test_what_is_claimed_must_be_there() -> None:
    (told,) = problems(*ALL, claims=("9.0",))
    assert "libonnxruntime_providers_cuda.so has no code sm_90, which the image claims" in told


def test_the_wheels_of_libraries() -> None:
    assert wheel_with("libcublasLt.so.13", 13) == "nvidia-cublas"
    assert wheel_with("libcublasLt.so.12", 12) == "nvidia-cublas-cu12"
    assert wheel_with("libcudnn_ops.so.9", 13) == "nvidia-cudnn-cu13"
    assert wheel_with("libnvrtc-builtins.so.13.0", 13) == "nvidia-cuda-nvrtc"
    assert wheel_with("libz.so.1", 13) == ""
