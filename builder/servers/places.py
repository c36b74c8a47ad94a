"""Where things lie in an image, whatever serves.

``/opt/mbuild/server`` has the servers' own code, ``/models/NAME/mbuild.json`` what a server must know about a model,
``/models/NAME/1/model.onnx`` the graph (the version directory as Triton lays it out), ``/models/NAME/1/engines/`` what
was compiled of it with an index, ``/models/NAME/golden/*.npz`` and
``/models/NAME/parity.json`` what the gate asked. With a plain model that is ``NAME-tensors``, and NAME is the plain
one: ``interface.json`` and its files instead of a graph.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.canonical import readable_json
from builder.host.trees import TreeWriter
from builder.model.engines import INDEX, Engines, engine_name
from builder.model.golden import GoldenCase, write_case
from builder.model.interface import FILE as INTERFACE
from builder.model.manifest import ModelManifest
from builder.oci.content import Content
from builder.servers.server import CodeFile, PackedModel, PackedPlain

RUNTIME = PurePosixPath("/opt/mbuild/runtime")
CODE = PurePosixPath("/opt/mbuild/server")
MODELS = PurePosixPath("/models")


def copied(source: Path, place: PurePosixPath) -> tuple[CodeFile, ...]:
    """The files of a package of ours, without what Python leaves beside them."""
    found = [path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    names = [path.relative_to(source).as_posix() for path in found]
    return tuple(
        CodeFile(path=place / name, content=path.read_bytes()) for name, path in zip(names, found, strict=True)
    )


def model_home(name: str) -> PurePosixPath:
    """The version directory of a model."""
    return MODELS / name / "1"


def write_model(tree: TreeWriter, model: PackedModel) -> None:
    """The graph with what belongs to it, and the plain model around it; chunks of weights are not written here."""
    home = MODELS / model.tensors_name
    for file in model.artifact.packed:
        _write_file(tree, model_home(model.tensors_name) / file.path, file.content)
    if model.engines:
        _write_engines(tree, model_home(model.tensors_name) / "engines", model.engines)
    _write_cases(tree, home, model.cases)
    tree.add_file(home / "mbuild.json", readable_json(_description(model)))
    if model.parity:
        tree.add_file(home / "parity.json", readable_json(model.parity))
    if model.plain:
        _write_plain(tree, model, model.plain)


def _write_file(tree: TreeWriter, path: PurePosixPath, content: bytes | Content) -> None:
    if isinstance(content, bytes):
        tree.add_file(path, content)
    elif isinstance(content, Path):
        tree.add_local_file(path, content)
    else:  # a chunk: a layer of its own, above whose directories this tree makes
        tree.add_directory(path.parent)


def _write_engines(tree: TreeWriter, home: PurePosixPath, engines: Engines) -> None:
    for one in engines.files:
        name = engine_name(engines.version, one.capability)
        tree.add_local_file(home / f"{name}.engine", one.path)
        tree.add_file(home / f"{name}.onnx", one.graph)
    tree.add_file(home / INDEX, readable_json(engines.to_json()))


def _write_plain(tree: TreeWriter, model: PackedModel, plain: PackedPlain) -> None:
    home = MODELS / model.manifest.name
    interface = {**plain.interface.to_json(), "tensors": model.tensors_name}
    tree.add_file(home / "1" / INTERFACE, readable_json(interface))
    for name, local, _ in plain.files:
        tree.add_local_file(home / "1" / name, local)
    _write_cases(tree, home, plain.cases)
    described = {**_described(model.manifest, model.manifest.name), "signature": plain.interface.signature.to_json()}
    tree.add_file(home / "mbuild.json", readable_json(described))


def _write_cases(tree: TreeWriter, home: PurePosixPath, cases: tuple[GoldenCase, ...]) -> None:
    for case in cases:
        tree.add_file(home / "golden" / f"{case.name}.npz", write_case(case))


def _description(model: PackedModel) -> dict[str, object]:
    renames = model.manifest.renames
    return {
        **_described(model.manifest, model.tensors_name),
        "signature": model.signature.to_json(),
        "renames": {
            "inputs": {new: old for old, new in renames.inputs},
            "outputs": {new: old for old, new in renames.outputs},
        },
    }


def _described(manifest: ModelManifest, name: str) -> dict[str, object]:
    bounds = {each.name: each.max for each in manifest.dims if each.max is not None}
    return {
        "schema": 1,
        "name": name,
        "version": manifest.version,
        "description": manifest.description,
        "licence": manifest.licence,
        "tolerance": manifest.tolerance.to_json(),
        "settings": {**manifest.server.to_json(), **({"dims": bounds} if bounds else {})},
    }
