"""The GPU libraries of an image, chosen by what its models compute, and staged."""

from __future__ import annotations

from collections.abc import Mapping

from builder.host import Host
from builder.host.trees import StagedTree
from builder.pipeline.base import ResolvedBase
from builder.pipeline.collection import LoadedImage
from builder.plan.spec import BuildSpec
from builder.servers.places import RUNTIME
from builder.targets.libraries import stage_parts
from builder.targets.wheels import fetch_wheels


def find_libraries(spec: BuildSpec, image: LoadedImage, base: ResolvedBase) -> Mapping[str, str]:
    """Which parts of the base's libraries the image needs, and why; nothing on a base for processors."""
    if base.gpu is None:
        return {}
    return {part.name: part.why for part in base.gpu.parts}


def stage_libraries(
    spec: BuildSpec, parts: Mapping[str, str], base: ResolvedBase, host: Host
) -> Mapping[str, StagedTree]:
    """The layers of the parts, by their names, and the one that goes with them."""
    if base.gpu is None or base.own is None:
        return {}
    chosen = {part.wheel for part in base.gpu.parts if part.name in parts}
    wheels = tuple(wheel for wheel in base.own.lock.libraries[spec.platform] if wheel.name in chosen)
    fetch_wheels(wheels, base.python, host)
    return stage_parts(base.name, base.gpu, wheels, parts, RUNTIME, host)
