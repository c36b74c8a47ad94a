"""Triton as an image of others has it, NVIDIA's above all: only the models are added, for its own backend for ONNX.

Such an image is large and cannot be locked further than by its digest; what it brings is taken as it is, in the places
where NVIDIA puts it (server, build.py). A model with steps of Python is refused: their packages are not there.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.host.trees import TreeWriter
from builder.model.server_settings import ServerSettings
from builder.plan.image import ConfigPatch, Healthcheck
from builder.servers.places import MODELS, model_home, write_model
from builder.servers.server import CodeFile, PackedModel, Remark
from builder.servers.triton import PORTS, flags, remarks
from builder.servers.triton_config import WARM_UP, Backend, NotForTriton, config_text, described_graph

PROGRAM = PurePosixPath("/opt/tritonserver/bin/tritonserver")
BACKEND = PurePosixPath("/opt/tritonserver/backends/onnxruntime/libtriton_onnxruntime.so")
CURL = PurePosixPath("/usr/bin/curl")


class UpstreamTriton:
    """See the module. ``on_gpu``: for a target that has one."""

    name = "triton"
    programs: tuple[PurePosixPath, ...] = (PROGRAM, BACKEND, CURL)

    def __init__(self, *, on_gpu: bool = False) -> None:
        self._on_gpu = on_gpu

    @property
    def form(self) -> str:
        return "UpstreamTriton on a GPU" if self._on_gpu else "UpstreamTriton"

    def files(self) -> tuple[CodeFile, ...]:
        return ()

    def model_home(self, name: str) -> PurePosixPath:
        return model_home(name)

    def check(self, model: PackedModel) -> tuple[Remark, ...]:
        if model.plain:
            reason = "its steps run in Python, with packages that an image of others (--base) does not have"
            raise NotForTriton(name=model.manifest.name, reason=reason)
        config_text(described_graph(model, Backend.ONNXRUNTIME, on_gpu=self._on_gpu))
        return tuple(remarks(model.manifest.server))

    def write_model(self, tree: TreeWriter, model: PackedModel) -> None:
        write_model(tree, model)
        described = described_graph(model, Backend.ONNXRUNTIME, on_gpu=self._on_gpu)
        home = MODELS / described.name
        tree.add_file(home / "config.pbtxt", config_text(described).encode())
        for name, content in described.warm_up.files() if described.warm_up else ():
            tree.add_file(home / WARM_UP / name, content)

    def config(
        self, interpreter: PurePosixPath, models: tuple[PackedModel, ...], settings: ServerSettings
    ) -> ConfigPatch:
        ready = f"http://localhost:{PORTS[0]}/v2/health/ready"
        return ConfigPatch(
            # onnxruntime >= 1.29 uploads telemetry unless this is set; see docs/security.md.
            env=(("ORT_DISABLE_TELEMETRY", "1"),),
            entrypoint=(str(PROGRAM), *flags(settings, on_gpu=self._on_gpu)),
            cmd=(),
            user="10001:10001",
            workdir="/",
            ports=PORTS,
            labels=(),
            healthcheck=Healthcheck(test=(str(CURL), "--fail", "--silent", "--output", "/dev/null", ready)),
        )
