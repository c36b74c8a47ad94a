from __future__ import annotations

import onnx
import pytest
from packaging.version import Version

from builder.base.spec import load_base
from builder.model.operators import Operator, Operators
from builder.plan.gpu import GpuLibraries
from builder.plan.gpu_parts import TENSORRT_RULES, USERS, all_parts, needed_parts, part_rules, runtime_settings
from builder.targets.kernels import runtime_operators

LINKED_13 = ("cudart", "cublas", "curand")
LINKED_12 = ("cudart", "cublas", "curand", "cufft", "cudnn")


def libraries(base: str) -> GpuLibraries:
    gpu = load_base(base).gpu
    assert gpu is not None
    return gpu


def parts(base: str, *operators: str) -> dict[str, str]:
    gpu = libraries(base)
    nodes = {Operator.parse(text): (f"/{text}",) for text in operators}
    return dict(needed_parts(Operators(nodes=nodes), gpu, runtime_operators(gpu.runtime).known))


@pytest.mark.parametrize(("base", "linked"), [("cuda12", LINKED_12), ("cuda13", LINKED_13)])
def test_a_model_of_matrix_products_needs_what_the_provider_is_linked_against(
    base: str, linked: tuple[str, ...]
) -> None:
    needed = parts(base, "Gemm", "MatMul", "Relu", "Softmax", "Constant", "Mish", "ai.onnx.ml:TreeEnsemble")
    assert set(needed) == set(linked)
    assert needed["cublas"] == "matrix products"


def test_full_tensorrt_brings_its_own_and_what_its_provider_is_linked_against() -> None:
    """What it does not take runs on CUDA: a convolution keeps cuDNN's."""
    own = {"tensorrt", "tensorrt-builder", "cudnn"}
    assert set(parts("tensorrt10", "MatMul")) == set(parts("cuda13", "MatMul")) | own
    assert set(parts("tensorrt10", "Conv")) == set(parts("cuda13", "Conv")) | own
    assert parts("tensorrt10", "MatMul")["cudnn"] == "the TensorRT provider is linked against it"


@pytest.mark.parametrize("base", ["cuda12", "cuda13"])
@pytest.mark.parametrize(
    ("operator", "more"),
    [
        ("Conv", {"cudnn", "cudnn-ops", "cudnn-cnn", "nvrtc"}),
        ("com.microsoft:FusedConv", {"cudnn", "cudnn-ops", "cudnn-cnn", "nvrtc"}),
        ("MaxPool", {"cudnn", "cudnn-ops"}),
        ("com.microsoft:BiasSoftmax", {"cudnn", "cudnn-ops"}),
        ("ReduceMean", {"cudnn", "cudnn-ops"}),
        ("com.microsoft:MultiHeadAttention", {"cudnn"}),
        ("LSTM", {"cudnn", "cudnn-ops", "cudnn-adv"}),
        ("com.microsoft:Rfft", {"cufft", "nvjitlink"}),
    ],
)
def test_an_operator_brings_its_libraries_and_what_those_need(base: str, operator: str, more: set[str]) -> None:
    assert set(parts(base, "MatMul", operator)) == set(parts(base, "MatMul")) | more


def test_tensorrt_is_packed_without_what_only_language_models_use() -> None:
    assert set(parts("tensorrt", "Conv", "MatMul", "LSTM")) == {"tensorrt-rtx", "tensorrt-rtx-provider"}
    needed = parts("tensorrt", "MatMul", "com.microsoft:MatMulNBits")
    assert needed["tensorrt-rtx-plugins"] == "com.microsoft:MatMulNBits in 1 node (/com.microsoft:MatMulNBits)"
    assert "tensorrt-rtx-plugins" in parts("tensorrt", "my.own:Thing")
    assert {rule.name for rule in TENSORRT_RULES} == {part.name for part in libraries("tensorrt").parts}


def test_the_reason_names_operators_and_nodes() -> None:
    gpu = libraries("cuda13")
    nodes = {
        Operator("", "Conv"): tuple(f"/features/{number}/Conv" for number in range(12)),
        Operator("", "MaxPool"): ("/pool",),
        Operator("", "ReduceMean"): ("/mean", "/mean_1"),
        Operator("", "LRN"): ("/lrn",),
    }
    needed = needed_parts(Operators(nodes=nodes), gpu, runtime_operators(gpu.runtime).known)
    assert needed["cudnn-cnn"] == "Conv in 12 nodes (the first: /features/0/Conv)"
    assert needed["nvrtc"] == "needed by cudnn-cnn"
    assert needed["cudnn"] == "needed by cudnn-ops and cudnn-cnn"
    assert needed["cudnn-ops"] == (
        "ReduceMean in 2 nodes (the first: /mean), MaxPool in 1 node (/pool) and 1 more operator"
    )
    assert [part.name for part in gpu.parts if part.name in needed] == list(needed)


def test_what_onnxruntime_may_make_of_a_graph_counts() -> None:
    gpu, softmax = libraries("cuda13"), Operator("", "Softmax")
    fused = {Operator("com.microsoft", "BiasSoftmax"): ("/a", "/b")}
    operators = Operators(nodes={softmax: ("/a", "/b")}, fused=fused)
    needed = needed_parts(operators, gpu, runtime_operators(gpu.runtime).known)
    assert set(needed) == {*LINKED_13, "cudnn", "cudnn-ops"}
    assert needed["cudnn-ops"] == ("com.microsoft:BiasSoftmax, which onnxruntime may make of 2 nodes (the first: /a)")


@pytest.mark.parametrize("base", ["cuda12", "cuda13"])
@pytest.mark.parametrize("operator", ["Unheard", "com.microsoft:BeamSearch", "GroupNormalization"])
def test_an_operator_that_nobody_looked_at_keeps_everything(base: str, operator: str) -> None:
    needed = parts(base, operator)
    assert set(needed) == {part.name for part in libraries(base).parts}
    assert needed["cudnn-adv"] == f"kept for {operator} in 1 node (/{operator}), of which it is not known what it needs"


@pytest.mark.parametrize(("name", "opset"), [("HardSwish", 22), ("Mish", 22), ("Swish", 24)])
def test_what_an_operator_that_is_spared_is_made_of(name: str, opset: int) -> None:
    body = onnx.defs.get_schema(name, opset, "").function_body
    assert {Operator(node.domain, node.op_type) for node in body.node} & USERS == set()


def test_all_of_them_on_request() -> None:
    gpu = libraries("cuda13")
    assert list(all_parts(gpu)) == [part.name for part in gpu.parts]


@pytest.mark.parametrize("base", ["cuda12", "cuda13"])
def test_the_rules_and_the_base_speak_of_the_same_parts(base: str) -> None:
    gpu = libraries(base)
    runtime = Version(gpu.runtime.partition("==")[2])
    assert {rule.name for rule in part_rules(runtime)} == {part.name for part in gpu.parts}


@pytest.mark.parametrize("base", ["cuda12", "cuda13"])
def test_every_operator_with_a_rule_is_one_of_the_runtime(base: str) -> None:
    """A name that is wrong would be a rule that never holds."""
    known = runtime_operators(libraries(base).runtime)
    assert {operator for operator in USERS if operator not in known.schemas} == set()
    assert {str(operator) for operator in USERS if operator not in known.cuda} == {"com.microsoft:NhwcFusedConv"}


def test_without_cudnns_engines_its_attention_is_off() -> None:
    assert runtime_settings({"cudart", "cudnn", "cudnn-ops"}) == {"ORT_ENABLE_CUDNN_FLASH_ATTENTION": "0"}
    assert runtime_settings({"cudart", "cudnn", "cudnn-ops", "cudnn-cnn"}) == {}
    assert runtime_settings({"cudart"}) == {}
