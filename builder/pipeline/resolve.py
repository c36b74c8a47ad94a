"""The resolve step: every choice made, written to the lock, or with --locked compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import content_key
from builder.convert import engines, optimize, plain_reference, quantize, reference
from builder.host import Host
from builder.host.trees import StagedTree
from builder.oci.digest import Digest
from builder.oci.layer_writer import Compression
from builder.pipeline.base import ResolvedBase
from builder.pipeline.collection import LoadedImage
from builder.pipeline.model import LoadedModel
from builder.plan.image import REVISION as PLAN_REVISION
from builder.plan.spec import BuildSpec
from builder.plan.wheel import LockedWheel
from builder.targets import Target
from builder.targets.lock import (
    LockDrift,
    LockedModel,
    LockedTarget,
    LockMissing,
    QuantizeChoice,
    drift,
    read_lock,
    write_lock,
)
from builder.targets.steps import answers_all, close_requirements
from builder.targets.wheels import resolve_wheels, uv_platform


def locked_quantize(spec: BuildSpec, target: Target, name: str) -> QuantizeChoice | None:
    """What an earlier build chose for the model of that name, on the first of the platforms that has it."""
    lock = read_lock(spec.lock)
    entries = [lock[key] for platform in spec.platforms if (key := target.identifier(platform)) in lock]
    return entries[0].choice(name) if entries else None


def resolve(
    spec: BuildSpec, target: Target, image: LoadedImage, base: ResolvedBase, server: StagedTree, host: Host
) -> LockedTarget:
    """The locked choices for this build. Wheels that are locked for the same request are kept; only where the request
    is new is an index asked. Writes the lock, or with ``spec.locked`` raises LockMissing or LockDrift instead.
    """
    identifier, asked = target.identifier(spec.platform), _asked(target, image, base)
    old = read_lock(spec.lock).get(identifier)
    if spec.locked and old is None:
        raise LockMissing(path=spec.lock, identifier=identifier)
    alone = image.models[0] if len(image.models) == 1 else None
    locked = LockedTarget(
        identifier=identifier,
        model=image.digest,
        base_name=base.name,
        base=base.digest,
        python=base.python,
        requirements=asked.requirements,
        wheels=_kept_wheels(old, asked, base) or _new_wheels(spec, asked, base, old, host),
        server=tree_digest(server),
        tools=tuple(sorted({**_answering(image), **_compiler(base), **(_converting(alone) if alone else {})}.items())),
        writer=(("gzip", Compression.GZIP.writer), ("plan", str(PLAN_REVISION)), ("tar", Compression.NONE.writer)),
        quantize=alone.quantize if alone else None,
        models=() if alone else tuple(map(_locked_model, image.models)),
        engines=alone.engines.digests if alone and alone.engines else (),
    )
    if spec.locked and old is not None and (changes := drift(old, locked)):
        raise LockDrift(path=spec.lock, drift="\n".join(changes))
    if not spec.locked:
        _enter(spec.lock, locked, host)
    return locked


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """``pins`` are the wheels of the target and of the model's steps, a closed list; ``more`` is what a handler.py asks
    for, with all that it depends on."""

    pins: tuple[str, ...]
    more: tuple[str, ...]

    @property
    def requirements(self) -> tuple[str, ...]:
        return (*self.pins, *self.more)


def _asked(target: Target, image: LoadedImage, base: ResolvedBase) -> _Asked:
    plains = [one.plain for one in image.models if one.plain]
    own = target.pins(base.python) if base.python else ()
    pins = (*own, *(pin for plain in plains for pin in plain.pins))
    more = (requirement for plain in plains for requirement in plain.requirements)
    return _Asked(pins=tuple(dict.fromkeys(pins)), more=tuple(dict.fromkeys(more)))


def _locked_model(model: LoadedModel) -> LockedModel:
    tools = tuple(sorted(_converting(model).items()))
    return LockedModel(
        name=model.manifest.name,
        digest=model.digest,
        tools=tools,
        quantize=model.quantize,
        engines=model.engines.digests if model.engines else (),
    )


def _enter(path: Path, locked: LockedTarget, host: Host) -> None:
    """Write one target into the lock; builds of its other targets may be doing the same at this moment."""
    with host.store.exclusive(content_key({"lock": str(path.resolve())})):
        write_lock(path, {**read_lock(path), locked.identifier: locked})


def _answering(image: LoadedImage) -> Mapping[str, str]:
    """What computed the answers of the golden cases."""
    return {**reference.tools(), **(plain_reference.tools() if any(one.plain for one in image.models) else {})}


def _converting(model: LoadedModel) -> Mapping[str, str]:
    """What made the ONNX, where it is not the user's own."""
    converted = {**model.origin.tools, **optimize.tools()} if model.origin else {}
    if model.quantize and model.quantize.is_smaller:
        converted |= quantize.tools()
    return {**converted, **engines.tools()} if model.engines and model.engines.files else converted


def _compiler(base: ResolvedBase) -> dict[str, str]:
    """What compiles the bytecode, where the base's own digest does not say so."""
    return {"bytecode": base.compiler.package} if base.compiler and base.upstream else {}


def tree_digest(tree: StagedTree) -> Digest:
    """One digest for a whole tree of entries."""
    lines = "\n".join(f"{entry.mode:o} {entry.path} {entry.digest or entry.target}" for entry in tree.entries)
    return Digest.of(lines.encode())


def _kept_wheels(old: LockedTarget | None, asked: _Asked, base: ResolvedBase) -> tuple[LockedWheel, ...]:
    """The locked wheels, where they are those of this request and no others."""
    if old is None or _minor(old.python) != _minor(base.python):
        return ()
    same = sorted(asked.requirements) == sorted(old.requirements)
    if asked.more:
        return old.wheels if same and answers_all(old.wheels, asked.requirements) else ()
    return old.wheels if same and tuple(sorted(asked.pins)) == _pins(old.wheels) else ()


def _pins(wheels: tuple[LockedWheel, ...]) -> tuple[str, ...]:
    return tuple(sorted(f"{wheel.name}=={wheel.version}" for wheel in wheels))


def _new_wheels(
    spec: BuildSpec, asked: _Asked, base: ResolvedBase, old: LockedTarget | None, host: Host
) -> tuple[LockedWheel, ...]:
    """Ask the index; with --locked nothing may be chosen, so the request that differs is the drift."""
    if not asked.requirements:
        return ()
    if spec.locked and old is not None:
        was = f"{', '.join(old.requirements) or 'no wheels'} for Python {old.python}"
        now = f"{', '.join(asked.requirements)} for Python {base.python}"
        raise LockDrift(path=spec.lock, drift=f"  wheels: {was} -> {now}")
    python = _minor(base.python)
    where = ("--python-version", python, "--python-platform", uv_platform(spec.platform, base.glibc))
    closed = close_requirements(asked.more, asked.pins, where, host)
    return resolve_wheels((*asked.pins, *closed), python, spec.platform, base.glibc, host)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
