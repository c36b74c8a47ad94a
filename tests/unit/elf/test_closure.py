"""Whether the loader finds everything, in the versions asked for, and who asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from builder.elf import ElfFacts
from builder.elf.closure import Closure, Use
from builder.elf.cuda import optional_plugins
from builder.elf.tree import LibraryTree

DEFAULT = "/usr/lib/x86_64-linux-gnu"
LIBC = ElfFacts(machine="EM_X86_64", soname="libc.so.6", defines=("GLIBC_2.2.5", "GLIBC_2.34"))
FILES = {
    f"{DEFAULT}/libc.so.6": LIBC,
    "/opt/lib/libblas.so.1": ElfFacts(
        machine="EM_X86_64", soname="libblas.so.1", needed=("libblasLt.so.1", "libc.so.6"), search=("$ORIGIN",),
        requires=(("libblasLt.so.1", ("BLAS_1.1",)), ("libc.so.6", ("GLIBC_2.34",))),
    ),
    "/opt/lib/libblasLt.so.1": ElfFacts(machine="EM_X86_64", defines=("libblasLt.so.1", "BLAS_1.0", "BLAS_1.1")),
    "/opt/app/provider.so": ElfFacts(
        machine="EM_X86_64", needed=("libblas.so.1", "libblasLt.so.1", "libcuda.so.1"),
        requires=(("libblasLt.so.1", ("BLAS_1.0",)), ("libcuda.so.1", ("CUDA_9",))),
    ),
}  # fmt: skip
CACHE = {name: f"/opt/lib/{name}" for name in ("libblas.so.1", "libblasLt.so.1")}


def closure(
    files: dict[str, ElfFacts] = FILES, cache: dict[str, str] = CACHE, library_path: tuple[str, ...] = ()
) -> Closure:
    return Closure(
        tree=LibraryTree(elves={PurePosixPath(path): facts for path, facts in files.items()}),
        architecture="amd64",
        library_path=tuple(map(PurePosixPath, library_path)),
        cache={name: PurePosixPath(path) for name, path in cache.items()},
    )


def told(made: Closure) -> list[str]:
    return [f"{problem.file.name} {problem.text}" for problem in made.problems()]


def test_a_closed_tree_has_no_problem() -> None:
    assert told(closure()) == []


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        (f"{DEFAULT}/libc.so.6", ["libblas.so.1 needs libc.so.6"]),
        ("/opt/lib/libblas.so.1", ["provider.so needs libblas.so.1"]),
        ("/opt/lib/libblasLt.so.1", ["provider.so needs libblasLt.so.1", "libblas.so.1 needs libblasLt.so.1"]),
    ],
)
def test_each_library_that_is_missing_is_told_with_all_that_need_it(gone: str, expected: list[str]) -> None:
    assert told(closure({path: facts for path, facts in FILES.items() if path != gone})) == expected


def test_a_version_that_is_not_defined_is_told() -> None:
    old = replace(FILES["/opt/lib/libblasLt.so.1"], defines=("libblasLt.so.1", "BLAS_1.0"))
    assert told(closure({**FILES, "/opt/lib/libblasLt.so.1": old})) == [
        "libblas.so.1 needs BLAS_1.1 of libblasLt.so.1, which /opt/lib/libblasLt.so.1 does not define"
    ]
    without_versions = replace(old, defines=())
    assert told(closure({**FILES, "/opt/lib/libblasLt.so.1": without_versions})) == [], "the loader takes those"


def test_the_loader_reads_the_cache_and_no_configuration() -> None:
    assert told(closure(cache={})) == [
        "provider.so needs libblas.so.1 (there is /opt/lib/libblas.so.1, where the loader does not look for it)",
        "provider.so needs libblasLt.so.1 (there is /opt/lib/libblasLt.so.1, where the loader does not look for it)",
    ]
    assert told(closure(cache={}, library_path=("/opt/lib",))) == []
    assert len(told(closure(cache={name: f"/gone/{name}" for name in CACHE}))) == 2


def test_an_earlier_place_goes_before_a_later_one() -> None:
    second = replace(FILES["/opt/lib/libblasLt.so.1"], defines=("libblasLt.so.1",))
    files = {**FILES, "/second/libblasLt.so.1": second}
    by_variable = told(closure(files, library_path=("/second",)))
    assert [line.partition(" ")[0] for line in by_variable] == ["provider.so", "libblas.so.1"], "before RUNPATH, too"
    by_cache = closure(files, cache={**CACHE, "libblasLt.so.1": "/second/libblasLt.so.1"})
    assert [line.partition(" ")[0] for line in told(by_cache)] == ["provider.so"], "the other has a RUNPATH"


def test_a_library_for_another_machine_is_passed_over() -> None:
    other = replace(LIBC, machine="EM_AARCH64")
    files = {**FILES, "/first/libc.so.6": other}
    assert told(closure(files, library_path=("/first",))) == ["libc.so.6 is built for EM_AARCH64, not for EM_X86_64"]


def test_who_uses_what() -> None:
    uses = set(closure().uses())
    provider, blas = PurePosixPath("/opt/app/provider.so"), PurePosixPath("/opt/lib/libblas.so.1")
    assert Use(file=provider, name="libblas.so.1", library=blas) in uses
    assert {use.file.name for use in uses if use.name == "libblasLt.so.1"} == {"provider.so", "libblas.so.1"}
    assert not [use for use in uses if use.name == "libcuda.so.1"], "the driver's is not in the tree"


def test_the_library_of_tensorrt_must_load_where_it_is_what_serves() -> None:
    plugin = PurePosixPath("/opt/app/libonnxruntime_providers_tensorrt.so")
    tree = LibraryTree(elves={plugin: ElfFacts(machine="EM_X86_64", needed=("libnvinfer.so.10",))})
    cuda = Closure(tree=tree, architecture="amd64", optional=optional_plugins("CUDAExecutionProvider"))
    assert cuda.problems() == ()
    full = replace(cuda, optional=optional_plugins("TensorrtExecutionProvider"))
    assert [problem.text for problem in full.problems()] == ["needs libnvinfer.so.10"]
