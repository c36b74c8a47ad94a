from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builder.model.operators import Operator, Operators
from builder.oci.platform import Platform
from builder.pipeline.operators import OperatorNotRun, cpu_remark, require_operators
from builder.targets import TARGETS, UnsupportedPlatform, find_target
from tests.support.golden import Golden

ENTRY = PurePosixPath("model.onnx")
OPSETS = {"": 17, "com.microsoft": 1, "ai.onnx.ml": 3}


def operators(*names: str, opset: int = 17) -> Operators:
    nodes = {Operator.parse(name): (f"/{name}",) for name in names}
    return Operators(nodes=nodes, opsets={**OPSETS, "": opset})


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_what_every_target_runs(target: str) -> None:
    usual = operators("Conv", "Constant", "Softmax", "Loop", "ai.onnx.ml:TreeEnsembleRegressor", "com.microsoft:Gelu")
    require_operators(usual, ENTRY, TARGETS[target])


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_an_operator_that_is_made_of_others_needs_no_kernel(target: str) -> None:
    require_operators(operators("GroupNormalization", "Mish", opset=21), ENTRY, TARGETS[target])


def test_an_operator_of_nobody_is_refused_by_its_node(golden: Golden) -> None:
    with pytest.raises(OperatorNotRun) as caught:
        require_operators(operators("Relu", "Frobnicate"), ENTRY, TARGETS["cuda12"])
    golden("errors/operator-not-run.txt", f"{caught.value}\n{caught.value.advice}\n")


def test_one_that_came_later_says_when() -> None:
    with pytest.raises(OperatorNotRun, match=r"'/Gelu': Gelu came with opset 20, and the model is of opset 17"):
        require_operators(operators("Gelu"), ENTRY, TARGETS["cpu"])


def test_one_that_only_a_gpu_runs_names_the_targets_that_do() -> None:
    with pytest.raises(OperatorNotRun, match=r"it knows com\.microsoft:GroupNorm as of opset 1, and has") as e:
        require_operators(operators("com.microsoft:GroupNorm"), ENTRY, TARGETS["cpu"])
    assert e.value.advice == "the model runs with --target cuda12 or cuda13 or tensorrt10"


def test_a_domain_without_a_version_is_somebody_elses_error() -> None:
    nodes = {Operator("com.microsoft", "Unheard"): ("/a",)}
    require_operators(Operators(nodes=nodes, opsets={"": 17}), ENTRY, TARGETS["cpu"])


def test_nodes_that_the_gpu_does_not_run_are_told() -> None:
    some = operators("Conv", "Relu", "Constant", "ai.onnx.ml:TreeEnsembleRegressor")
    assert cpu_remark(some, TARGETS["cuda13"]) == (
        "1 of 4 nodes run on the CPU: onnxruntime-gpu 1.28.0 has no CUDA kernel for them "
        "(the first: ai.onnx.ml:TreeEnsembleRegressor /ai.onnx.ml:TreeEnsembleRegressor)"
    )
    none = operators("ai.onnx.ml:TreeEnsembleRegressor")
    assert cpu_remark(none, TARGETS["cuda13"]).startswith("none of its nodes runs on the GPU: onnxruntime-gpu 1.28.0")
    assert cpu_remark(operators("Conv", "Relu"), TARGETS["cuda13"]) == ""
    assert cpu_remark(some, TARGETS["cpu"]) == ""


def test_a_kernel_that_is_open_to_the_end_is_none_for_a_later_schema() -> None:
    """As onnxruntime places them (issue 13781): MaxPool has a CUDA kernel from opset 12 on, and of opset 22 none."""
    assert cpu_remark(operators("MaxPool", "Conv", opset=21), TARGETS["cuda13"]) == ""
    assert cpu_remark(operators("MaxPool", "Conv", opset=22), TARGETS["cuda13"]) == (
        "1 of 2 nodes run on the CPU: onnxruntime-gpu 1.28.0 has no CUDA kernel for them "
        "(the first: MaxPool /MaxPool); of opset 21 it would be none"
    )


@pytest.mark.parametrize(
    ("target", "message", "advice"),
    [
        (
            "cuda12",
            "the target cuda12 cannot be built for linux/arm64: onnxruntime-gpu has no wheel for CUDA 12 there; its "
            "only wheels for linux/arm64 are for CUDA 13",
            "for linux/arm64 there is --target cpu; cuda12: it can be built for: linux/amd64",
        ),
        (
            "cuda13",
            "the target cuda13 cannot be built for linux/arm64: onnxruntime-gpu has wheels for linux/arm64 from 1.29 "
            "on, and this target has 1.28.0, the last with code for compute capability 10.0 and with PTX for later "
            "ones",
            "for linux/arm64 there is --target cpu; cuda13: it can be built for: linux/amd64",
        ),
    ],
)
def test_a_platform_without_wheels_says_why_and_what_there_is(target: str, message: str, advice: str) -> None:
    with pytest.raises(UnsupportedPlatform) as caught:
        find_target(target, Platform.parse("linux/arm64"))
    assert (str(caught.value), caught.value.advice) == (message, advice)


def test_a_platform_of_no_target_is_only_refused() -> None:
    with pytest.raises(UnsupportedPlatform) as caught:
        find_target("cpu", Platform.parse("windows/amd64"))
    assert str(caught.value) == "the target cpu cannot be built for windows/amd64"
    assert caught.value.advice == "it can be built for: linux/amd64, linux/arm64"
