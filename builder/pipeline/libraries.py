"""The GPU libraries of an image, chosen by what its models compute, and staged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.host import Host
from builder.host.trees import StagedTree
from builder.model.operators import together
from builder.oci.platform import Platform
from builder.pipeline.base import ResolvedBase
from builder.pipeline.collection import LoadedImage
from builder.plan.gpu_parts import all_parts, needed_parts
from builder.plan.spec import BuildSpec, CudaLibraries
from builder.servers.places import RUNTIME
from builder.targets.kernels import runtime_operators
from builder.targets.libraries import ChosenLibraries, stage_parts
from builder.targets.wheels import fetch_wheels


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedLibraries:
    """``reasons`` are the parts that an image needs, with the reason why; ``trees`` those of them that the base does
    not have, and the one that goes with them."""

    reasons: Mapping[str, str]
    trees: Mapping[str, StagedTree]


NO_LIBRARIES = StagedLibraries(reasons={}, trees={})


def find_libraries(spec: BuildSpec, image: LoadedImage, base: ResolvedBase) -> Mapping[str, str]:
    """Which parts of the GPU libraries the image needs, and why; nothing in an image for processors."""
    if base.gpu is None:
        return {}
    if spec.libraries is CudaLibraries.FULL:
        return all_parts(base.gpu.gpu)
    operators = together(one.artifact.operators for one in image.models)
    return needed_parts(operators, base.gpu.gpu, runtime_operators(base.gpu.gpu.runtime).known)


def stage_libraries(reasons: Mapping[str, str], base: ResolvedBase, platform: Platform, host: Host) -> StagedLibraries:
    """Raises what ``fetch_wheels`` and ``stage_parts`` raise."""
    offered = base.gpu
    if offered is None:
        return NO_LIBRARIES
    chosen = ChosenLibraries(
        base=offered.name,
        gpu=offered.gpu,
        wheels=offered.wheels,
        reasons=reasons,
        platform=platform,
        present=offered.present,
        configures=base.upstream is None,
    )
    fetch_wheels(chosen.used, base.python, host)
    return StagedLibraries(reasons=reasons, trees=stage_parts(chosen, RUNTIME, host))
