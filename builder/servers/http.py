"""The minimal HTTP server (``builder/serve``) as a part of an image.

In the image: ``/opt/mbuild/server/mbuild_serve`` (the code), ``/models/NAME/mbuild.json`` (what the server must know),
``/models/NAME/1/model.onnx`` (the version directory as Triton lays it out), ``/models/NAME/golden/*.npz`` and
``/models/NAME/parity.json`` (what the gate asked; nothing reads it to serve). With a plain model that is
``NAME-tensors``, and NAME is the plain one: ``interface.json`` and its files instead of a graph.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.canonical import readable_json
from builder.host.trees import TreeWriter
from builder.model.golden import GoldenCase, write_case
from builder.model.interface import FILE as INTERFACE
from builder.model.manifest import ModelManifest, ServerSettings
from builder.oci.content import Content
from builder.plan.image import ConfigPatch, Healthcheck
from builder.resources import server_source_directory
from builder.servers.server import PackedModel, PackedPlain

RUNTIME = PurePosixPath("/opt/mbuild/runtime")
CODE = PurePosixPath("/opt/mbuild/server")
MODELS = PurePosixPath("/models")
PORT = 8000


class HttpServer:
    """See the module."""

    name = "http"

    def files(self) -> tuple[tuple[PurePosixPath, bytes], ...]:
        source = server_source_directory()
        found = (path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
        return tuple((CODE / "mbuild_serve" / path.relative_to(source).as_posix(), path.read_bytes()) for path in found)

    def model_home(self, name: str) -> PurePosixPath:
        return MODELS / name / "1"

    def write_model(self, tree: TreeWriter, model: PackedModel) -> None:
        home = MODELS / model.tensors_name
        for file in model.artifact.packed:
            _write_file(tree, self.model_home(model.tensors_name) / file.path, file.content)
        _write_cases(tree, home, model.cases)
        tree.add_file(home / "mbuild.json", readable_json(_description(model)))
        if model.parity:
            tree.add_file(home / "parity.json", readable_json(model.parity))
        if model.plain:
            _write_plain(tree, model, model.plain)

    def config(self, interpreter: PurePosixPath, model: PackedModel) -> ConfigPatch:
        python = str(interpreter)
        return ConfigPatch(
            env=(
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("PYTHONPATH", f"{RUNTIME}:{CODE}"),
                ("PYTHONDONTWRITEBYTECODE", "1"),
                ("PYTHONUNBUFFERED", "1"),
                # onnxruntime >= 1.29 uploads telemetry unless this is set; see docs/security.md.
                ("ORT_DISABLE_TELEMETRY", "1"),
                # numpy's BLAS is not used for inference; one thread saves 80 ms of CPU at start (measured).
                ("OPENBLAS_NUM_THREADS", "1"),
                ("MBUILD_MODELS", str(MODELS)),
                *_environ(model.manifest.server),
            ),
            entrypoint=(python, "-m", "mbuild_serve"),
            cmd=("serve",),
            user="10001:10001",
            workdir="/",
            ports=(PORT,),
            labels=(),
            healthcheck=Healthcheck(test=(python, "-m", "mbuild_serve", "health")),
        )


def _write_file(tree: TreeWriter, path: PurePosixPath, content: bytes | Content) -> None:
    if isinstance(content, bytes):
        tree.add_file(path, content)
    elif isinstance(content, Path):
        tree.add_local_file(path, content)
    else:  # a chunk: a layer of its own, above whose directories this tree makes
        tree.add_directory(path.parent)


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
    return {
        "schema": 1,
        "name": name,
        "version": manifest.version,
        "description": manifest.description,
        "licence": manifest.licence,
        "tolerance": manifest.tolerance.to_json(),
        "settings": manifest.server.to_json(),
    }


def _environ(settings: ServerSettings) -> tuple[tuple[str, str], ...]:
    """The server's variables (builder/serve/settings.py) for what model.yaml sets otherwise than the default."""
    default = ServerSettings()
    variables = (
        ("MBUILD_GRACE_SECONDS", settings.grace_seconds, default.grace_seconds),
        ("MBUILD_MAX_BODY", settings.max_body_bytes, default.max_body_bytes),
        ("MBUILD_THREADS", settings.threads, default.threads),
        ("MBUILD_QUEUE", settings.queue, default.queue),
    )
    return tuple((name, str(value)) for name, value, usual in variables if value != usual)
