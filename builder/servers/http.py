"""The minimal HTTP server (``builder/serve``) as a part of an image.

In the image: ``/opt/mbuild/server/mbuild_serve`` (the code), ``/models/NAME/mbuild.json`` (what the server must know),
``/models/NAME/1/model.onnx`` (the version directory as Triton lays it out) and ``/models/NAME/golden/*.npz``.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.canonical import readable_json
from builder.host.trees import TreeWriter
from builder.model.golden import write_case
from builder.model.manifest import ServerSettings
from builder.oci.content import Content
from builder.plan.image import ConfigPatch, Healthcheck
from builder.resources import server_source_directory
from builder.servers.server import PackedModel

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
        home = MODELS / model.manifest.name
        for file in model.artifact.packed:
            _write_file(tree, self.model_home(model.manifest.name) / file.path, file.content)
        for case in model.cases:
            tree.add_file(home / "golden" / f"{case.name}.npz", write_case(case))
        tree.add_file(home / "mbuild.json", readable_json(self._description(model)))

    def _description(self, model: PackedModel) -> dict[str, object]:
        manifest = model.manifest
        return {
            "schema": 1,
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "signature": model.signature.to_json(),
            "renames": {
                "inputs": {new: old for old, new in manifest.renames.inputs},
                "outputs": {new: old for old, new in manifest.renames.outputs},
            },
            "tolerance": manifest.tolerance.to_json(),
            "settings": manifest.server.to_json(),
        }

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
