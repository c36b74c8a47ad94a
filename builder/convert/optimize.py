"""The last form of a model that mbuild converted: what its runtime reads, nothing that no output needs, and bytes that
depend on the model alone. A user's own ONNX is never changed.

onnxruntime's offline graph optimisation is not applied (docs/adr/0009-optimise-and-quantise.md has the figures).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import content_key
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.convert.tools import tools_of, worker_digest
from builder.convert.worker import WorkerFailed, WorkerJob, run_worker, take_output
from builder.errors import ConversionError
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.oci.digest import Digest

_WORKER = "optimize_worker"
GRAPH, WEIGHTS = "model.onnx", "model.onnx.data"

ONNX_TOOLS = EnvironmentSpec(
    name="onnx-tools",
    megabytes=172,
    requirements=(
        "ml-dtypes==0.6.0",
        "numpy==2.4.6",
        "onnx==1.23.2",
        "onnxruntime==1.31.1",
        "packaging==26.3",
        "protobuf==6.33.6",
        "typing-extensions==4.16.0",
    ),
)
"""The same onnx that the converters write with, and the onnxruntime of the image with its quantisation tools."""


class OpsetNotLowered(ConversionError):
    code = "opset-not-lowered"
    message = "the converted model is too new for the onnxruntime of this target: {reason}"
    hint = "ask the exporter for an older opset, and put the model.onnx that it writes into the directory"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxVersions:
    """The newest that a runtime reads."""

    opset: int
    ml_opset: int
    ir: int


def tools() -> dict[str, str]:
    """What a lock says about it."""
    return tools_of("optimize", _WORKER, ONNX_TOOLS)


def optimize(directory: Path, versions: OnnxVersions, host: Host) -> Path:
    """A directory like ``directory``, which a converter wrote, with the model in its last form; what stands beside the
    model is carried over. Raises OpsetNotLowered, and what running a worker raises."""
    request = {"opset": versions.opset, "ml_opset": versions.ml_opset, "ir_version": versions.ir}
    files = {path.relative_to(directory).as_posix(): str(Digest.of_file(path)) for path in _files(directory)}
    key = content_key(
        {"files": files, **request, "environment": sorted(ONNX_TOOLS.requirements), "worker": worker_digest(_WORKER)}
    )

    def make(path: Path) -> None:
        with temporary_directory(prefix="mbuild-optimize-") as scratch:
            output = scratch / "output"
            output.mkdir()
            job = WorkerJob(
                worker=_WORKER,
                python=ensure_environment(ONNX_TOOLS, host),
                request={"model": str(directory / GRAPH), "output": str(output), **request},
                scratch=scratch,
                readable=(directory,),
            )
            try:
                run_worker(job, host)
            except WorkerFailed as error:
                raise OpsetNotLowered(reason=error.facts["reason"]) from error
            take_output(job, output, path)
        _carry_over(directory, path)

    return host.store.directory("optimized", key, make)


def _carry_over(directory: Path, path: Path) -> None:
    """Everything but the model itself: sample values, the plain interface and its files."""
    for file in _files(directory):
        if file.name not in (GRAPH, WEIGHTS) or file.parent != directory:
            (path / file.relative_to(directory)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path / file.relative_to(directory))


def _files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in directory.rglob("*") if path.is_file()))
