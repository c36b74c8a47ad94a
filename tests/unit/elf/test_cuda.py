"""What no header says of CUDA's libraries: what they open while they run, parts, and code for what is claimed."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builder.elf import ElfFacts
from builder.elf.closure import Closure
from builder.elf.cuda import PARTS, claimed, code_problems, opened_problems, part_problems
from builder.elf.gpu_code import GpuCode
from builder.elf.tree import LibraryTree

PROVIDER = "libonnxruntime_providers_cuda.so"
NUMBERS = {"libnvrtc": "13", "libnvrtc-builtins": "13.0", "libnvJitLink": "13"}
NAMES = tuple(f"{name}.so.{NUMBERS.get(name, '9')}" for names in PARTS.values() for name in names)
CODE = tuple(map(GpuCode.named, ("sm_75", "sm_90", "compute_90")))


def closure(names: tuple[str, ...] = NAMES, gpu: dict[str, tuple[GpuCode, ...]] | None = None) -> Closure:
    elves = {
        PurePosixPath("/opt", name): ElfFacts(
            machine="EM_X86_64",
            soname=name,
            gpu=(gpu or {}).get(name, CODE),
            opens=("libnvrtc-builtins.so.13.0",) if name.startswith("libnvrtc.") else (),
        )
        for name in (*names, PROVIDER)
    }
    return Closure(
        tree=LibraryTree(elves=elves), architecture="amd64", cache={name: PurePosixPath("/opt", name) for name in names}
    )


def without(*gone: str) -> tuple[str, ...]:
    return tuple(name for name in NAMES if name not in gone)


def test_a_whole_set() -> None:
    assert list(opened_problems(closure())) == []
    assert list(part_problems(PARTS, closure().tree)) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_lacks_any_of_its_files_is_told(name: str) -> None:
    (problem,) = part_problems(PARTS, closure(without(name)).tree)
    assert problem.endswith(f", but not {name.partition('.so')[0]}.so")


@pytest.mark.parametrize(
    ("gone", "opener"),
    [
        ("libcudnn_graph.so.9", "libcudnn.so.9"),
        ("libcudnn_heuristic.so.9", "libcudnn_cnn.so.9"),
        ("libcudnn_engines_precompiled.so.9", "libcudnn_cnn.so.9"),
        ("libcudnn_engines_runtime_compiled.so.9", "libcudnn_cnn.so.9"),
        ("libnvrtc.so.13", "libcudnn_engines_runtime_compiled.so.9"),
        ("libnvrtc-builtins.so.13.0", "libnvrtc.so.13"),
        ("libnvJitLink.so.13", "libcufft.so.9"),
    ],
)
def test_what_is_opened_while_running_must_be_found(gone: str, opener: str) -> None:
    (problem,) = opened_problems(closure(without(gone)))
    assert (problem.file.name, problem.text.split()[:2]) == (opener, ["opens", _opened(gone)])


def test_a_library_that_nobody_calls_opens_nothing() -> None:
    assert list(opened_problems(closure(without("libnvJitLink.so.13")), ["libcufft"])) == []


def _opened(name: str) -> str:
    return name if "builtins" in name else f"{name.partition('.so')[0]}.so"


def test_builtins_of_another_minor_version_will_not_do() -> None:
    names = (*without("libnvrtc-builtins.so.13.0"), "libnvrtc-builtins.so.13.1")
    assert [problem.text.split()[1] for problem in opened_problems(closure(names))] == ["libnvrtc-builtins.so.13.0"]


def test_a_library_that_is_nowhere_needs_nothing() -> None:
    assert list(opened_problems(closure(("libcudart.so.13",)))) == []
    assert list(part_problems(["a-part-of-others"], closure(()).tree)) == []


def claims(*capabilities: str, ptx: str = "") -> list[str]:
    return [*map(str, map(claimed, capabilities)), *([str(claimed(ptx, is_ptx=True))] if ptx else [])]


def test_capabilities_stand_for_code() -> None:
    assert claims("7.5", "9.0a", "10.3f", ptx="12.0") == ["sm_75", "sm_90a", "sm_103f", "compute_120"]
    with pytest.raises(ValueError, match="no compute capability"):
        claimed("90")


def test_claims_must_be_in_the_provider_and_run_on_the_others() -> None:
    def told(*texts: str, **gpu: tuple[GpuCode, ...]) -> list[str]:
        made = closure(gpu={f"{name}.so.9": code for name, code in gpu.items()})
        asked = [claimed(text.removesuffix("+ptx"), is_ptx=text.endswith("+ptx")) for text in texts]
        found = code_problems(asked, PurePosixPath("/opt", PROVIDER), made)
        return [f"{problem.file.name} {problem.text}" for problem in found]

    assert told("7.5", "9.0", "9.0+ptx") == []
    (missing,) = told("9.0a")
    assert missing.startswith(
        f"{PROVIDER} has no code sm_90a, which the image claims (it has sm_75, sm_90, compute_90)"
    )
    old = (GpuCode.named("sm_80"), GpuCode.named("sm_90"))
    assert told("7.5", "9.0", libcudnn_ops=old) == [
        "libcudnn_ops.so.9 has no code that runs on 7.5, which the image claims"
    ]
    assert told("7.5", libcufft=old) == [], "its kernels are in another form"
    assert told("7.5", libcudart=()) == [], "it has no kernels"
