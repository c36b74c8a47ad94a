"""The libraries of a base, read out of wheels and proven over its root filesystem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.elf.gpu_code import GpuCode
from builder.host import Host
from builder.host.trees import TreeWriter
from builder.oci.platform import Platform
from builder.pipeline.library_proof import LibrariesDoNotClose, LockedLibraries, prove_libraries
from builder.plan.gpu import GpuLibraries, LibraryPart
from builder.plan.wheel import LockedWheel
from builder.targets.wheel_libraries import read_libraries
from tests.support.elves import Library
from tests.support.hosts import real_host
from tests.support.wheels import make_wheel, stored_wheel

HOME = "nvidia/cu13/lib"
CODE = ((GpuCode.named("sm_75"), GpuCode.named("compute_90")),)
GPU = GpuLibraries(
    provider="CUDAExecutionProvider",
    runtime="onnxruntime-gpu==1.0",
    cuda="13.0",
    driver="580.65.06",
    capabilities=("7.5",),
    ptx="9.0",
    wheels=("blas==1.0",),
    parts=(LibraryPart(name="cublas", wheel="blas", files=(f"{HOME}/libcublas*.so.13",), why="products"),),
    drop={},
)
PROVIDER = Library(
    needed=("libcublas.so.13", "libc.so.6"),
    wants={("libcublas.so.13", "libcublas.so.13"): ("multiply",)},
    requires={"libc.so.6": ("GLIBC_2.2.5",)},
    gpu=CODE,
)
CUBLAS = Library(
    soname="libcublas.so.13", needed=("libcublasLt.so.13",), runpath="$ORIGIN", gpu=CODE,
    offers={"libcublas.so.13": ("multiply",)},
)  # fmt: skip
WHEEL = {
    f"{HOME}/libcublas.so.13": CUBLAS.to_bytes(),
    f"{HOME}/libcublasLt.so.13": Library(soname="libcublasLt.so.13", needed=("libc.so.6",)).to_bytes(),
    f"{HOME}/libother.so.13": Library(soname="libother.so.13", needed=("libmissing.so",)).to_bytes(),
    f"{HOME}/libtext.so": b"GROUP ( libcublas.so.13 )",
}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path)


def locked(host: Host, tmp_path: Path, blas: dict[str, bytes] = WHEEL, gpu: GpuLibraries = GPU) -> LockedLibraries:
    writer = TreeWriter(tmp_path / "root")
    libc = Library(soname="libc.so.6", offers={"GLIBC_2.2.5": ("malloc",)})
    writer.add_file("/usr/lib/x86_64-linux-gnu/libc-2.so", libc.to_bytes(), 0o755)
    writer.add_symlink("/usr/lib/x86_64-linux-gnu/libc.so.6", "libc-2.so")
    runtime = make_wheel(
        "onnxruntime_gpu", files={"onnxruntime/capi/libonnxruntime_providers_cuda.so": PROVIDER.to_bytes()}
    )
    return LockedLibraries(
        base="mine",
        gpu=gpu,
        wheels=(stored_wheel(host.store, make_wheel("blas", files=blas), "blas"),),
        runtime=(stored_wheel(host.store, runtime, "onnxruntime_gpu"),),
        root=writer.finish(),
        platform=Platform(os="linux", architecture="amd64"),
    )


def test_a_set_that_closes_tells_what_it_is_for(host: Host, tmp_path: Path) -> None:
    assert prove_libraries(locked(host, tmp_path), host) == {
        "blas 1.0": "libcublasLt.so.13, needed by libcublas.so.13; "
        "libcublas.so.13, needed by libonnxruntime_providers_cuda.so"
    }


def test_each_library_that_is_missing_is_told(host: Host, tmp_path: Path) -> None:
    wheel = {name: content for name, content in WHEEL.items() if "libcublasLt" not in name}
    with pytest.raises(LibrariesDoNotClose) as refused:
        prove_libraries(locked(host, tmp_path, wheel), host)
    assert "  blas 1.0: libcublas.so.13 needs libcublasLt.so.13, which no part has" in str(refused.value)
    assert "the base mine for linux/amd64" in str(refused.value)


def test_a_claim_without_code_is_told(host: Host, tmp_path: Path) -> None:
    with pytest.raises(LibrariesDoNotClose, match="has no code sm_80, which the image claims"):
        prove_libraries(locked(host, tmp_path, gpu=replace(GPU, capabilities=("7.5", "8.0"))), host)


def test_an_onnxruntime_without_the_provider_is_refused(host: Host, tmp_path: Path) -> None:
    with pytest.raises(LibrariesDoNotClose, match=r"onnxruntime-gpu==1\.0: has no libonnxruntime_providers_cuda\.so"):
        prove_libraries(replace(locked(host, tmp_path), runtime=()), host)


def test_libraries_of_a_wheel_are_read_once(host: Host, tmp_path: Path) -> None:
    (wheel,) = locked(host, tmp_path).wheels
    first = read_libraries(wheel, host)
    assert [library.path.name for library in first] == ["libcublas.so.13", "libcublasLt.so.13", "libother.so.13"]
    assert first[0].symbols.offered == {("libcublas.so.13", "multiply")}
    host.store.blob_path(wheel.digest).unlink()
    assert read_libraries(wheel, host) == first


def test_a_large_library_is_read_from_a_file_that_leaves_nothing(host: Host) -> None:
    large = CUBLAS.to_bytes() + bytes(40 << 20)
    wheel: LockedWheel = stored_wheel(host.store, make_wheel("blas", files={f"{HOME}/libcublas.so.13": large}), "blas")
    (library,) = read_libraries(wheel, host)
    assert library.elf.soname == "libcublas.so.13" and library.elf.gpu == CODE[0]
    assert list((host.store.root / "tmp").iterdir()) == []
