"""Triton as a part of an image: its program and python backend come from a wheel, onnxruntime runs inside the latter.

In the image: the runtime layer has Triton where the wheel puts it (its libraries are found from there), this layer
what that lacks: the model's class, the link to the stub of this Python, a path file that names our packages, since
the stub ignores PYTHONPATH, and a program in the place of the shells that the backend calls (docs/triton.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from builder.host.trees import TreeWriter
from builder.model.server_settings import USUAL_SERVER, ServerSettings
from builder.plan.image import ConfigPatch, Healthcheck
from builder.resources import server_source_directory
from builder.servers.places import CODE, MODELS, RUNTIME, copied, model_home, write_model
from builder.servers.server import PYTHON_ENV, CodeFile, PackedModel, Remark
from builder.servers.triton_config import WARM_UP, Backend, TritonModel, config_text, described_graph

PROGRAM = RUNTIME / "pytriton/tritonserver"
PORTS = (8000, 8001, 8002)
"""HTTP, gRPC and metrics, as Triton numbers them."""

_PYTHON = "3.11"
_STUB = "triton_python_backend_stub"
_ENTRY = """\
# Where Triton's python backend looks for the model. The class lies with the server, which has bytecode.
from mbuild_triton.{module} import TritonPythonModel

__all__ = ["TritonPythonModel"]
"""
_SOURCE = Path(__file__).with_name("triton_backend")


class TritonServer:
    """See the module. ``on_gpu``: for a target that has one."""

    name = "triton"
    programs: tuple[PurePosixPath, ...] = ()

    def __init__(self, *, on_gpu: bool = False) -> None:
        self._on_gpu = on_gpu

    @property
    def form(self) -> str:
        return "TritonServer on a GPU" if self._on_gpu else "TritonServer"

    def files(self) -> tuple[CodeFile, ...]:
        launch = (_SOURCE / "launch.py").read_bytes()
        return (
            *copied(server_source_directory(), CODE / "mbuild_serve"),
            *copied(_SOURCE, CODE / "mbuild_triton"),
            *(CodeFile(path=PurePosixPath("/usr/bin", name), content=launch, mode=0o755) for name in ("bash", "sh")),
            CodeFile(
                path=PROGRAM / "backends/python" / _STUB,
                target=f"../../python_backend_stubs/{_PYTHON}/{_STUB}",
            ),
            CodeFile(
                path=PurePosixPath(f"/usr/local/lib/python{_PYTHON}/dist-packages/mbuild.pth"),
                content=f"{RUNTIME}\n{CODE}\n".encode(),
            ),
        )

    def model_home(self, name: str) -> PurePosixPath:
        return model_home(name)

    def check(self, model: PackedModel) -> tuple[Remark, ...]:
        for described in _described(model, on_gpu=self._on_gpu):
            config_text(described)
        return tuple(remarks(model.manifest.server))

    def write_model(self, tree: TreeWriter, model: PackedModel) -> None:
        write_model(tree, model)
        for described in _described(model, on_gpu=self._on_gpu):
            home = MODELS / described.name
            tree.add_file(home / "config.pbtxt", config_text(described).encode())
            entry = _ENTRY.format(module="plain" if described.is_plain else "model")
            tree.add_file(model_home(described.name) / "model.py", entry.encode())
            if described.warm_up:
                for name, content in described.warm_up.files():
                    tree.add_file(home / WARM_UP / name, content)

    def config(
        self, interpreter: PurePosixPath, models: tuple[PackedModel, ...], settings: ServerSettings
    ) -> ConfigPatch:
        python = str(interpreter)
        return ConfigPatch(
            env=(
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                *PYTHON_ENV,
            ),
            entrypoint=(
                *((python, "-m", "mbuild_triton.start") if self._on_gpu else ()),
                str(PROGRAM / "bin/tritonserver"),
                f"--backend-directory={PROGRAM / 'backends'}",
                # config.pbtxt is whole; without this Triton starts every model once more to complete it.
                "--disable-auto-complete-config",
                *flags(settings, on_gpu=self._on_gpu),
            ),
            cmd=(),
            user="10001:10001",
            workdir="/",
            ports=PORTS,
            labels=(),
            healthcheck=Healthcheck(test=(python, "-m", "mbuild_serve", "health")),
        )


def flags(settings: ServerSettings, *, on_gpu: bool) -> tuple[str, ...]:
    """What every start has; arguments of ``docker run`` come behind it."""
    without = ("--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0")
    return (
        f"--model-repository={MODELS}",
        "--strict-readiness=true",
        "--exit-on-error=true",
        f"--exit-timeout-secs={round(settings.grace_seconds)}",
        *(() if on_gpu else without),
        "--log-format=ISO8601",
    )


def remarks(settings: ServerSettings) -> Iterator[Remark]:
    """What Triton does not do, whoever built it."""
    if settings.max_body_bytes != USUAL_SERVER.max_body_bytes:
        text = f"this Triton has no bound on a request's body: server.max_body_bytes ({settings.max_body_bytes})"
        yield Remark(message=f"{text} has no effect", hint="bound it before Triton, or build with --server http")
    if settings.queue != USUAL_SERVER.queue:
        text = f"Triton's queue is not bounded: server.queue ({settings.queue}) has no effect"
        yield Remark(message=text, hint="docs/triton.md says why; bound it before Triton, or build with --server http")


def _described(model: PackedModel, *, on_gpu: bool) -> Iterator[TritonModel]:
    """The graph, and the plain model around it."""
    graph = described_graph(model, Backend.PYTHON, on_gpu=on_gpu)
    yield graph
    if model.plain:
        plain = replace(graph, name=model.manifest.name, signature=model.plain.interface.signature, is_plain=True)
        yield replace(plain, warm_up=None)
