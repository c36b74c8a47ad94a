"""What a target needs: base image, wheels, what the runtime can execute. One entry in ``TARGETS`` for each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from packaging.requirements import Requirement

from builder.errors import UsageError
from builder.oci.platform import Platform


class UnknownTarget(UsageError):
    code = "unknown-target"
    message = "there is no target {name!r}"
    hint = "this version of mbuild builds for: {known}"


class UnsupportedPlatform(UsageError):
    code = "unsupported-platform"
    message = "the target {target} cannot be built for {platform}{reason}"
    hint = "{instead}it can be built for: {known}"


class ServerNotOffered(UsageError):
    code = "server-not-offered"
    message = "the target {target} has no server {server!r}"
    hint = "it is built with: {known}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a model will run, and what its server stands on there.

    ``base_image`` names a folder of base-images/; ``requirements`` are exact pins of the wheels, some
    for some versions of Python only (see ``pins``), and ``rules`` name the files of rules/ that say what of them is
    kept; ``provider`` is the onnxruntime execution provider that must be
    active; ``opsets`` (lowest, highest) of the default domain, ``ml_opset`` of ai.onnx.ml and ``ir_version`` (highest)
    are what that onnxruntime loads; ``platforms`` are those with wheels, and ``elsewhere`` says why there are no
    others; ``has_engines``: engines of TensorRT-RTX go beside the graph; ``has_profiles``: TensorRT makes engines when
    the server starts, for sizes that go beside the graph.
    """

    name: str
    server: str
    base_image: str
    requirements: tuple[str, ...]
    provider: str
    opsets: tuple[int, int]
    ml_opset: int
    ir_version: int
    platforms: tuple[Platform, ...]
    rules: tuple[str, ...] = ("runtime",)
    has_engines: bool = False
    has_profiles: bool = False
    elsewhere: str = ""

    @property
    def runtime(self) -> str:
        """The exact pin of its onnxruntime."""
        return next(pin for pin in self.requirements if pin.startswith("onnxruntime"))

    @property
    def on_gpu(self) -> bool:
        return self.provider != "CPUExecutionProvider"

    @property
    def is_compiled(self) -> bool:
        """TensorRT makes engines of the graph, now or later."""
        return self.has_engines or self.has_profiles

    def pins(self, python: str) -> tuple[str, ...]:
        """The requirements for an image with Python ``python`` (3.13, or exact as 3.13.5)."""
        minor = ".".join(python.split(".")[:2])
        found = (Requirement(text) for text in self.requirements)
        fitting = (one for one in found if one.marker is None or one.marker.evaluate({"python_version": minor}))
        return tuple(f"{one.name}{one.specifier}" for one in fitting)

    def identifier(self, *platforms: Platform) -> str:
        """For example ``onnx-http-cpu-linux_amd64``: the unit of locks, tables and caches."""
        return f"onnx-{self.server}-{self.name}-{'+'.join(platform.slug for platform in platforms)}"


_LINUX = (Platform(os="linux", architecture="amd64"), Platform(os="linux", architecture="arm64"))

_ARRAYS = ("numpy==2.5.5; python_version >= '3.12'", "numpy==2.4.6; python_version < '3.12'")

# onnxruntime 1.31.1 loads opset <= 26 of ai.onnx, <= 5 of ai.onnx.ml, and IR <= 13 (measured; see docs/targets.md).
_CPU = Target(
    name="cpu",
    server="http",
    base_image="cpu",
    requirements=(
        *_ARRAYS,
        "onnxruntime==1.31.1",
        "orjson==3.13.0",
    ),
    provider="CPUExecutionProvider",
    opsets=(7, 26),
    ml_opset=5,
    ir_version=13,
    platforms=_LINUX,
)
_TRITON_CPU = replace(
    _CPU,
    server="triton",
    base_image="triton-cpu",
    # Triton's python backend finds no output in an array of numpy 2 (docs/triton.md).
    requirements=("numpy==1.26.4", "nvidia-pytriton==0.7.0", "onnxruntime==1.31.1"),
    platforms=_LINUX[:1],
    rules=("runtime", "triton"),
    elsewhere="nvidia-pytriton has no wheel there",
)

_CUDA13 = replace(
    _CPU,
    name="cuda13",
    base_image="cuda13",
    requirements=(*_ARRAYS, "onnxruntime-gpu==1.28.0", "orjson==3.13.0"),
    provider="CUDAExecutionProvider",
    platforms=_LINUX[:1],
    rules=("runtime", "cuda"),
    elsewhere="onnxruntime-gpu has wheels for linux/arm64 from 1.29 on, and this target has 1.28.0, the last with code "
    "for compute capability 10.0 and with PTX for later ones",
)
_CUDA12 = replace(
    _CUDA13,
    name="cuda12",
    base_image="cuda12",
    requirements=(*_ARRAYS, "onnxruntime-gpu==1.26.0", "orjson==3.13.0"),
    elsewhere="onnxruntime-gpu has no wheel for CUDA 12 there; its only wheels for linux/arm64 are for CUDA 13",
)
_TENSORRT = replace(
    _CPU,
    name="tensorrt",
    base_image="tensorrt",
    provider="nv_tensorrt_rtx",
    platforms=_LINUX[:1],
    has_engines=True,
    elsewhere="NVIDIA's plugin for onnxruntime has no wheel there",
)
_TENSORRT10 = replace(
    _CUDA13,
    name="tensorrt10",
    base_image="tensorrt10",
    provider="TensorrtExecutionProvider",
    rules=("runtime",),
    has_profiles=True,
)
_TRITON_CUDA12 = replace(
    _TRITON_CPU,
    name="cuda12",
    base_image="triton-cuda12",
    requirements=("numpy==1.26.4", "nvidia-pytriton==0.7.0", "onnxruntime-gpu==1.26.0"),
    provider="CUDAExecutionProvider",
    rules=("runtime", "triton", "cuda"),
)
_ALL = (_CPU, _CUDA12, _CUDA13, _TENSORRT, _TENSORRT10, _TRITON_CPU, _TRITON_CUDA12)

TARGETS: dict[str, Target] = {target.name: target for target in _ALL if target.server == "http"}
"""By name, with the usual server."""

_SERVED: dict[tuple[str, str], Target] = {(target.name, target.server): target for target in _ALL}


def find_target(name: str, platform: Platform, server: str = "http") -> Target:
    """The target of that name with that server; raises UnknownTarget, ServerNotOffered or UnsupportedPlatform."""
    if name not in TARGETS:
        raise UnknownTarget(name=name, known=", ".join(TARGETS))
    target = _SERVED.get((name, server))
    if target is None:
        known = ", ".join(other for place, other in _SERVED if place == name)
        raise ServerNotOffered(target=name, server=server, known=known)
    if platform not in target.platforms:
        raise _not_there(target, platform)
    return target


def _not_there(target: Target, platform: Platform) -> UnsupportedPlatform:
    """With the reason, where the platform is one that other targets have."""
    others = [one.name for one in _ALL if one.server == target.server and platform in one.platforms]
    known = ", ".join(map(str, target.platforms))
    return UnsupportedPlatform(
        target=target.name,
        platform=platform,
        reason=f": {target.elsewhere}" if others and target.elsewhere else "",
        instead=f"for {platform} there is --target {' or '.join(others)}; {target.name}: " if others else "",
        known=known,
    )
