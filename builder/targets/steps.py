"""The wheels that a plain model's steps need beside the target's own, and those of a user's handler.py.

The steps' own list is closed, as the targets' are: tokenizers reads a tokenizer.json without huggingface-hub
(measured). A handler's requirements are followed to what they depend on; the target's pins hold for all of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from builder.errors import ResolutionError
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.host.uv import Unsatisfiable
from builder.plan.wheel import LockedWheel
from builder.targets.pylock import list_closure

STEP_REQUIREMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tokenize": ("tokenizers==0.23.3",), "image": ("pillow==13.0.0",)}
)


class HandlerRequirementsConflict(ResolutionError):
    code = "handler-requirements-conflict"
    message = "the requirements of handler.py do not go together with what the image has ({fixed}): {reason}"
    hint = "ask for versions that do; numpy, onnxruntime and orjson are the target's (docs/targets.md)"


def step_requirements(steps: Collection[str]) -> tuple[str, ...]:
    """Exact pins, for the names of the steps of an interface."""
    return tuple(sorted(pin for step in steps for pin in STEP_REQUIREMENTS.get(step, ())))


def close_requirements(
    requirements: tuple[str, ...], fixed: tuple[str, ...], where: tuple[str, ...], host: Host
) -> tuple[str, ...]:
    """Exact pins of ``requirements`` and all that they depend on, but for those of ``fixed``, which hold. ``where`` are
    uv's options for the Python and the platform. Raises HandlerRequirementsConflict, and what ``run_uv`` raises."""
    if not requirements:
        return ()
    with temporary_directory(host.store.root / "tmp", prefix="fixed-") as scratch:
        constraints = scratch / "fixed.txt"
        constraints.write_text("\n".join(fixed), encoding="utf-8")
        try:
            offers = list_closure(requirements, constraints, where, host)
        except Unsatisfiable as error:
            raise HandlerRequirementsConflict(fixed=", ".join(fixed), reason=error.facts["reason"]) from error
    held = {canonicalize_name(Requirement(pin).name) for pin in fixed}
    found = {f"{offer.name}=={offer.version}" for offer in offers if canonicalize_name(offer.name) not in held}
    return tuple(sorted(found))


def answers_all(wheels: tuple[LockedWheel, ...], requirements: tuple[str, ...]) -> bool:
    """Whether each requirement has its wheel; one with a marker may be for another Python."""
    versions = {canonicalize_name(wheel.name): wheel.version for wheel in wheels}
    for text in requirements:
        requirement = Requirement(text)
        version = versions.get(canonicalize_name(requirement.name))
        if version is None and requirement.marker is None:
            return False
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            return False
    return True
