"""The minimal HTTP server (``builder/serve``) as a part of an image; the models lie as places.py says."""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.host.trees import TreeWriter
from builder.model.server_settings import USUAL_SERVER, ServerSettings
from builder.plan.image import ConfigPatch, Healthcheck
from builder.resources import server_source_directory
from builder.servers.places import CODE, MODELS, RUNTIME, copied, model_home, write_model
from builder.servers.server import PYTHON_ENV, CodeFile, PackedModel, Remark

PORT = 8000
_MIB = 2**20
TUNABLES = {"hugetlb": 1, "mmap_threshold": 32 * _MIB, "trim_threshold": 64 * _MIB}
"""Of glibc's malloc (its manual, "Memory Allocation Tunables"): weights lie side by side in transparent huge pages
where the kernel has them for who asks (``madvise``): 5 % less CPU for MiniLM, in as much memory (measured). Both
thresholds are those that glibc itself comes to once it has freed a buffer of 32 MiB, and not smaller: the heap of a
server that gives its top back with each request costs a tiny model half as much again."""
MALLOC = ("GLIBC_TUNABLES", ":".join(f"glibc.malloc.{name}={value}" for name, value in TUNABLES.items()))


class HttpServer:
    """See the module."""

    name = "http"
    form = "HttpServer"
    programs: tuple[PurePosixPath, ...] = ()

    def files(self) -> tuple[CodeFile, ...]:
        return copied(server_source_directory(), CODE / "mbuild_serve")

    def model_home(self, name: str) -> PurePosixPath:
        return model_home(name)

    def check(self, model: PackedModel) -> tuple[Remark, ...]:
        return ()

    def write_model(self, tree: TreeWriter, model: PackedModel) -> None:
        write_model(tree, model)

    def config(
        self, interpreter: PurePosixPath, models: tuple[PackedModel, ...], settings: ServerSettings
    ) -> ConfigPatch:
        python = str(interpreter)
        return ConfigPatch(
            env=(
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("PYTHONPATH", f"{RUNTIME}:{CODE}"),
                *PYTHON_ENV,
                MALLOC,
                ("MBUILD_MODELS", str(MODELS)),
                *_environ(settings),
            ),
            entrypoint=(python, "-m", "mbuild_serve"),
            cmd=("serve",),
            user="10001:10001",
            workdir="/",
            ports=(PORT,),
            labels=(),
            healthcheck=Healthcheck(test=(python, "-m", "mbuild_serve", "health")),
        )


def _environ(settings: ServerSettings) -> tuple[tuple[str, str], ...]:
    """The server's variables (builder/serve/settings.py) for what model.yaml sets otherwise than the default."""
    default = USUAL_SERVER
    variables = (
        ("MBUILD_GRACE_SECONDS", settings.grace_seconds, default.grace_seconds),
        ("MBUILD_MAX_BODY", settings.max_body_bytes, default.max_body_bytes),
        ("MBUILD_THREADS", settings.threads, default.threads),
        ("MBUILD_PROCESSES", settings.processes, default.processes),
        ("MBUILD_QUEUE", settings.queue, default.queue),
    )
    return tuple((name, str(value)) for name, value, usual in variables if value != usual)
