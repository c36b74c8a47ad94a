"""The resolve step: every choice made, written to the lock, or with --locked compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.canonical import content_key
from builder.convert import optimize, reference
from builder.host import Host
from builder.host.trees import StagedTree
from builder.oci.digest import Digest
from builder.oci.layer_writer import Compression
from builder.pipeline.base import ResolvedBase
from builder.pipeline.model import LoadedModel
from builder.plan.image import REVISION as PLAN_REVISION
from builder.plan.spec import BuildSpec
from builder.targets import Target
from builder.targets.lock import LockDrift, LockedTarget, LockMissing, drift, read_lock, write_lock
from builder.targets.wheels import LockedWheel, resolve_wheels


def resolve(
    spec: BuildSpec, target: Target, model: LoadedModel, base: ResolvedBase, server: StagedTree, host: Host
) -> LockedTarget:
    """The locked choices for this build. Wheels that are locked for the same request are kept; only where the request
    is new is an index asked. Writes the lock, or with ``spec.locked`` raises LockMissing or LockDrift instead.
    """
    identifier = target.identifier(spec.server, spec.platform)
    old = read_lock(spec.lock).get(identifier)
    if spec.locked and old is None:
        raise LockMissing(path=spec.lock, identifier=identifier)
    locked = LockedTarget(
        identifier=identifier,
        model=model.digest,
        base_name=base.name,
        base=base.digest,
        python=base.python,
        requirements=target.pins(base.python),
        wheels=_kept_wheels(old, target, base) or _new_wheels(spec, target, base, old, host),
        server=tree_digest(server),
        tools=tuple(sorted({**reference.TOOLS, **_compiler(base), **_converting(model)}.items())),
        writer=(("gzip", Compression.GZIP.writer), ("plan", str(PLAN_REVISION)), ("tar", Compression.NONE.writer)),
    )
    if spec.locked and old is not None and (changes := drift(old, locked)):
        raise LockDrift(path=spec.lock, drift="\n".join(changes))
    if not spec.locked:
        _enter(spec.lock, locked, host)
    return locked


def _enter(path: Path, locked: LockedTarget, host: Host) -> None:
    """Write one target into the lock; builds of its other targets may be doing the same at this moment."""
    with host.store.exclusive(content_key({"lock": str(path.resolve())})):
        write_lock(path, {**read_lock(path), locked.identifier: locked})


def _converting(model: LoadedModel) -> Mapping[str, str]:
    """What made the ONNX, where it is not the user's own."""
    return {**model.origin.tools, **optimize.TOOLS} if model.origin else {}


def _compiler(base: ResolvedBase) -> dict[str, str]:
    """What compiles the bytecode, where the base's own digest does not say so."""
    return {"bytecode": base.compiler.package} if base.compiler and base.upstream else {}


def tree_digest(tree: StagedTree) -> Digest:
    """One digest for a whole tree of entries."""
    lines = "\n".join(f"{entry.mode:o} {entry.path} {entry.digest or entry.target}" for entry in tree.entries)
    return Digest.of(lines.encode())


def _kept_wheels(old: LockedTarget | None, target: Target, base: ResolvedBase) -> tuple[LockedWheel, ...]:
    """The locked wheels, where they are those of this request and no others."""
    if old is None or _minor(old.python) != _minor(base.python):
        return ()
    asked = tuple(sorted(target.pins(base.python)))
    return old.wheels if asked == tuple(sorted(old.requirements)) == _pins(old.wheels) else ()


def _pins(wheels: tuple[LockedWheel, ...]) -> tuple[str, ...]:
    return tuple(sorted(f"{wheel.name}=={wheel.version}" for wheel in wheels))


def _new_wheels(
    spec: BuildSpec, target: Target, base: ResolvedBase, old: LockedTarget | None, host: Host
) -> tuple[LockedWheel, ...]:
    """Ask the index; with --locked nothing may be chosen, so the request that differs is the drift."""
    if spec.locked and old is not None:
        was = f"{', '.join(_pins(old.wheels)) or 'no wheels'} for Python {old.python}"
        now = f"{', '.join(target.pins(base.python))} for Python {base.python}"
        raise LockDrift(path=spec.lock, drift=f"  wheels: {was} -> {now}")
    return resolve_wheels(target.pins(base.python), _minor(base.python), spec.platform, base.glibc, host)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
