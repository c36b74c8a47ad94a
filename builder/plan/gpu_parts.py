"""Which parts of a GPU base an image needs: pure, from what its graphs compute, each with the reason.

Where the rules come from (docs/gpu.md, "What an image holds, and why"): the call graphs of
libonnxruntime_providers_cuda.so in the wheels of onnxruntime-gpu 1.26.0 and 1.28.0 say which kernels can come to a
function of cuDNN or cuFFT, by their constructor or by their Compute; the symbol tables of cuDNN 9.12 and 9.20 say in
which of its libraries such a function lies. An operator is only spared a library when it is known to need none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.version import Version

from builder.model.operators import Nodes, Operator, Operators
from builder.plan.gpu import GpuLibraries

LAZY_FROM = Version("1.28")
"""The onnxruntime from which on cuDNN and cuFFT are opened when a kernel asks for them, not when the CUDA provider is
loaded (onnxruntime pull requests 29252 and 29808)."""

_MOST_NAMED = 2
_GENERATORS = frozenset(
    Operator("com.microsoft", name) for name in ("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch")
)
"""Operators that call others through tables of functions, where a call graph does not see them."""

_ARITHMETIC = frozenset(Operator("", name) for name in ("CastLike", "HardSwish", "Mish", "Swish"))
"""Operators that onnxruntime replaces by a few others, as ONNX defines them, none of which needs a part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartRule:
    """When an image needs a part: ``always`` says why each does, where it does; ``operators`` are those whose kernels
    call it; ``parts`` are others that need it. A part without any of them is needed by no image.

    ``guarded``: a kernel that calls it without need fails, or ends the process, so it stays with any operator that
    nobody has looked at.
    """

    name: str
    always: str = ""
    operators: frozenset[Operator] = frozenset()
    parts: tuple[str, ...] = ()
    guarded: bool = False


def _named(*names: str) -> frozenset[Operator]:
    return frozenset(map(Operator.parse, names))


_HANDLE = _named("com.microsoft:Attention", "com.microsoft:MultiHeadAttention", "com.microsoft:QAttention")
"""They ask for cuDNN's handle before they choose a kernel of their own."""
_POOLS = _named("AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool")
_NORMS = _named("BatchNormalization", "InstanceNormalization", "LRN")
_REDUCTIONS = _named(
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin", "Einsum"),
)
_SOFTMAX = _named("com.microsoft:BiasSoftmax")
_CONVOLUTIONS = _named(
    *("Conv", "ConvTranspose", "com.microsoft:FusedConv", "com.microsoft:NhwcConv", "com.microsoft:NhwcFusedConv"),
    "com.microsoft:ConvTransposeWithDynamicPads",
)
_RECURRENT = _named("RNN", "LSTM", "GRU")
_FOURIER = _named("com.microsoft:Rfft", "com.microsoft:Irfft")

_PLUGGED = _named(
    *("Attention", "NonZero", "RotaryEmbedding", "com.microsoft:CausalConvWithState", "com.microsoft:LinearAttention"),
    *("com.microsoft:GroupQueryAttention", "com.microsoft:MatMulNBits", "com.microsoft:QMoE"),
    "com.microsoft:RotaryEmbedding",
)
"""What libtensorrt_plugins.so of TensorRT-RTX has, by the names of its PluginCreators; the provider does without it."""

USERS = _HANDLE | _POOLS | _NORMS | _REDUCTIONS | _SOFTMAX | _CONVOLUTIONS | _RECURRENT | _FOURIER
"""All operators that need a part."""


def part_rules(runtime: Version, provider: str = "CUDAExecutionProvider") -> tuple[PartRule, ...]:
    """The rules of that onnxruntime-gpu. What TensorRT does not take of a graph runs on CUDA, as if there were no
    TensorRT."""
    linked = "" if runtime >= LAZY_FROM else "the CUDA provider is linked against it"
    door = linked and "the CUDA provider makes a handle of it when it starts"
    if provider == "TensorrtExecutionProvider":
        door = "the TensorRT provider is linked against it"
    return (
        PartRule(name="cudart", always="every CUDA kernel is started through it"),
        PartRule(name="cublas", always="matrix products"),
        PartRule(name="curand", always="the CUDA provider is linked against it"),
        PartRule(
            name="cudnn",
            always=door,
            operators=_HANDLE,
            parts=("cudnn-ops", "cudnn-cnn", "cudnn-adv"),
            guarded=True,
        ),
        PartRule(
            name="cudnn-ops",
            operators=_POOLS | _NORMS | _REDUCTIONS | _SOFTMAX,
            parts=("cudnn-cnn", "cudnn-adv"),
            guarded=True,
        ),
        PartRule(name="cudnn-cnn", operators=_CONVOLUTIONS, guarded=True),
        PartRule(name="cudnn-adv", operators=_RECURRENT, guarded=True),
        PartRule(name="nvrtc", parts=("cudnn-cnn",)),
        PartRule(name="cufft", always=linked, operators=_FOURIER, guarded=True),
        PartRule(name="nvjitlink", operators=_FOURIER, guarded=True),
    )


TENSORRT_RULES = (
    PartRule(name="tensorrt-rtx", always="runs engines, and compiles for the GPU what is in none"),
    PartRule(name="tensorrt-rtx-provider", always="the execution provider of onnxruntime"),
    PartRule(name="tensorrt-rtx-plugins", operators=_PLUGGED, guarded=True),
)
"""The rules where the provider is a plugin."""


def needed_parts(operators: Operators, gpu: GpuLibraries, known: Set[Operator]) -> Mapping[str, str]:
    """The parts of ``gpu`` that graphs with these operators need, by name in the base's order, and why.

    ``known`` are the operators that the runtime has kernels for: what is not among them may be anything, and keeps all.
    A part that no rule speaks of is kept, too.
    """
    rules = {rule.name: rule for rule in (TENSORRT_RULES if gpu.plugin else part_rules(_version(gpu), gpu.provider))}
    told = (known | _ARITHMETIC) - _GENERATORS
    unknown = {each: names for each, names in operators.nodes.items() if each not in told}
    found = {name: reason for name, rule in rules.items() if (reason := _reason(rule, operators, unknown))}
    for rule in rules.values():
        if rule.name not in found and (wanting := [name for name in rule.parts if name in found]):
            found[rule.name] = f"needed by {' and '.join(wanting)}"
    kept = {part.name: part.why for part in gpu.parts if part.name not in rules}
    return {part.name: (found | kept)[part.name] for part in gpu.parts if part.name in found or part.name in kept}


def all_parts(gpu: GpuLibraries) -> Mapping[str, str]:
    """Every part, whatever the graphs compute."""
    return {part.name: f"{part.why} (all libraries were asked for)" for part in gpu.parts}


def runtime_settings(parts: Set[str]) -> dict[str, str]:
    """Variables that an image with these parts must set.

    With cuDNN in it, onnxruntime 1.28 takes cuDNN's attention on capability 9.0 and later for FP16 and BF16
    (onnxruntime pull request 28849), whose engines are in cudnn-cnn; without them the first request would fail.
    """
    return {"ORT_ENABLE_CUDNN_FLASH_ATTENTION": "0"} if "cudnn" in parts and "cudnn-cnn" not in parts else {}


def _version(gpu: GpuLibraries) -> Version:
    (pin,) = Requirement(gpu.runtime).specifier
    return Version(pin.version)


def _reason(rule: PartRule, operators: Operators, unknown: Nodes) -> str:
    if rule.always:
        return rule.always
    words = [*_words(rule, operators.nodes, " in"), *_words(rule, operators.fused, ", which onnxruntime may make of")]
    if words:
        return _listed(words)
    kept = _listed([_counted(each, names, " in") for each, names in sorted(unknown.items())])
    return f"kept for {kept}, of which it is not known what it needs" if rule.guarded and unknown else ""


def _words(rule: PartRule, nodes: Nodes, how: str) -> list[str]:
    """Of each operator that needs the part, the most frequent first."""
    users = sorted((each for each in nodes.items() if each[0] in rule.operators), key=lambda user: -len(user[1]))
    return [_counted(operator, names, how) for operator, names in users]


def _counted(operator: Operator, names: Sequence[str], how: str) -> str:
    """For example ``Conv in 12 nodes (the first: /features/0/Conv)``."""
    if len(names) == 1:
        return f"{operator}{how} 1 node ({names[0]})"
    return f"{operator}{how} {len(names)} nodes (the first: {names[0]})"


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMED
    if more <= 0:
        return " and ".join(words)
    return f"{', '.join(words[:_MOST_NAMED])} and {more} more operator{'s' if more > 1 else ''}"
