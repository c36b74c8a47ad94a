"""The stage step: every file that goes into the image, as trees in the store, each under the role of its layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from builder.assemble.weights import Keep, stage_chunks
from builder.canonical import content_key
from builder.events import Warned
from builder.host import Host
from builder.host.trees import StagedTree, TreeWriter, load_tree, merged
from builder.model.golden import GoldenCase, write_case
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.pipeline.answered import AnsweredModel
from builder.pipeline.base import ResolvedBase
from builder.pipeline.libraries import StagedLibraries
from builder.pipeline.model import LoadedModel
from builder.plan.chunks import in_words
from builder.plan.image import LayerRole
from builder.plan.spec import BuildSpec
from builder.servers import PackedModel, PackedPlain, Server
from builder.servers.places import RUNTIME
from builder.targets import find_target
from builder.targets.bytecode import compile_bytecode
from builder.targets.lock import LockedTarget
from builder.targets.wheel_stage import runtime_rules, stage_wheels
from builder.targets.wheels import fetch_wheels

REVISION = 8
"""Bumped by hand when a server would write the same model in another way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedLayers:
    """The tree of each role, of each model and each part of the libraries by its name, and all of them as one (what an
    assembler reads bytes from). ``tensors`` says by its path what a chunk of weights holds."""

    roles: Mapping[LayerRole, StagedTree]
    models: Mapping[str, StagedTree]
    libraries: StagedLibraries
    tensors: Mapping[PurePosixPath, str]

    @property
    def tree(self) -> StagedTree:
        return merged((*self.roles.values(), *self.libraries.trees.values(), *self.models.values()))


def stage_server(server: Server, host: Host) -> StagedTree:
    """The server's own files, equal for every model."""
    files = server.files()
    key = content_key({str(file.path): [str(Digest.of(file.content)), file.mode, file.target] for file in files})

    def write(writer: TreeWriter) -> None:
        for file in files:
            if file.target:
                writer.add_symlink(file.path, file.target)
            else:
                writer.add_file(file.path, file.content, file.mode)

    return _staged("server", key, write, host)


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedModel:
    """A model's tree, and apart from it the chunks of its weights; ``tensors`` says by its path what one holds."""

    name: str
    tree: StagedTree
    weights: StagedTree
    tensors: Mapping[PurePosixPath, str]


def packed_model(
    model: LoadedModel,
    cases: tuple[GoldenCase, ...],
    plain_cases: tuple[GoldenCase, ...] = (),
    parity: Mapping[str, object] = MappingProxyType({}),
) -> PackedModel:
    """What a server is told of a model; the cases of its graph and those of the plain model around it."""
    plain = model.plain
    return PackedModel(
        manifest=model.manifest,
        signature=model.signature,
        artifact=model.artifact,
        cases=cases,
        plain=PackedPlain(interface=plain.interface, files=plain.files, cases=plain_cases) if plain else None,
        parity=parity,
        engines=model.engines,
    )


def stage_model(server: Server, answered: AnsweredModel, keep: Keep, host: Host) -> StagedModel:
    """The model as the server reads it, with its answered golden cases and the gate's verdict. The layers of its chunks
    are made here, in one pass, and kept as ``keep`` says."""
    model, verdict = answered.model, answered.parity.verdict()
    packed = packed_model(model, answered.cases, answered.plain, verdict)
    home = server.model_home(packed.tensors_name)
    chunks = [(home / file.path, file.content) for file in model.artifact.packed if isinstance(file.content, tuple)]
    name = model.manifest.name
    tensors = {home / file.path: f"{name}: {in_words(file.tensors)}" for file in model.artifact.packed if file.tensors}
    answers = [[str(Digest.of(write_case(case))) for case in side] for side in (answered.cases, answered.plain)]
    decides: dict[str, object] = {
        "model": str(model.digest),
        "server": server.form,
        "cases": answers,
        "parity": verdict,
    }
    if model.engines:
        decides["engines"] = model.engines.key
    key = content_key({**decides, "chunks": [str(path) for path, _ in chunks], "revision": REVISION})
    tree = _staged("model", key, lambda writer: server.write_model(writer, packed), host)
    return StagedModel(name=name, tree=tree, weights=stage_chunks(chunks, keep, host), tensors=tensors)


def _staged(kind: str, key: str, write: Callable[[TreeWriter], None], host: Host) -> StagedTree:
    def make(directory: Path) -> None:
        writer = TreeWriter(directory)
        write(writer)
        writer.finish()

    return load_tree(host.store.directory(kind, key, make))


def stage_layers(
    spec: BuildSpec,
    locked: LockedTarget,
    base: ResolvedBase,
    server: StagedTree,
    models: Sequence[StagedModel],
    libraries: StagedLibraries,
    host: Host,
) -> StagedLayers:
    """Base and runtime from their pins, then bytecode for all that is Python."""
    fetch_wheels(locked.wheels, base.python, host)
    rules = runtime_rules(find_target(spec.target, spec.platform, spec.server).rules)
    runtime = stage_wheels(locked.wheels, RUNTIME, rules, host)
    python = {LayerRole.RUNTIME: runtime, LayerRole.SERVER: server}
    if base.own is not None:
        python = {LayerRole.BASE: base.own.stage(spec.platform, host), **python}
    weights = merged(one.weights for one in models)
    roles = {**_with_bytecode(python, base, host), LayerRole.WEIGHTS: weights}
    return StagedLayers(
        roles=roles,
        models={one.name: one.tree for one in models},
        libraries=libraries,
        tensors={path: text for one in models for path, text in one.tensors.items()},
    )


def _with_bytecode(
    roles: Mapping[LayerRole, StagedTree], base: ResolvedBase, host: Host
) -> Mapping[LayerRole, StagedTree]:
    compiler = base.compiler
    if not base.python:
        return roles
    if compiler is None:
        host.events.emit(
            Warned(
                message=f"no bytecode is made for the Python {base.python} of this base: the image starts slower",
                hint="a base with the Python of mbuild's own base (`mbuild base show`) gets it",
            )
        )
        return roles
    interpreter = compiler.own.stage(Platform.of_this_machine(), host)
    return {
        role: merged((tree, compile_bytecode(interpreter, tree, compiler.python, host))) for role, tree in roles.items()
    }
