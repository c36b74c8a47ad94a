"""Makes variants of an ONNX model in fewer bits, and times them: both in the locked environment, kept in the store by
everything that decides them (timings also by this machine)."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from builder.canonical import content_key
from builder.convert.envs import ensure_environment
from builder.convert.optimize import ONNX_TOOLS
from builder.convert.reference import REFERENCE
from builder.convert.tools import tools_of, worker_digest
from builder.convert.worker import WorkerFailed, WorkerJob, run_worker, take_output
from builder.errors import UsageError
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.model.golden import GoldenCase, write_case
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest

_WORKER, _MEASURING = "quantize_worker", "measure_worker"

_MEASURED_SECONDS = 4

SYMMETRIC = "int8-symmetric"
"""int8-static as TensorRT takes it: signed, zero points of zero, biases as they are."""


class NotQuantizable(UsageError):
    code = "not-quantizable"
    message = "{mode} does not fit this model: {reason}"
    hint = "take another mode (fp16; int8-static for convolutions; int8-dynamic for transformers), or --quantize auto"


def tools() -> dict[str, str]:
    """What a lock says about it."""
    return tools_of("quantize", _WORKER, ONNX_TOOLS)


def quantize(model: ModelArtifact, mode: str, calibration: tuple[GoldenCase, ...], host: Host) -> Path:
    """A directory with ``model.onnx`` in that mode; ``calibration`` has inputs by the names of the graph. Raises
    NotQuantizable, and what running a worker raises."""
    asked = tuple(write_case(replace(case, outputs={})) for case in calibration)
    key = content_key(
        {
            "model": _digests(model),
            "mode": mode,
            "calibration": [str(Digest.of(content)) for content in asked],
            "environment": sorted(ONNX_TOOLS.requirements),
            "worker": worker_digest(_WORKER),
        }
    )

    def make(directory: Path) -> None:
        with temporary_directory(prefix="mbuild-quantize-") as scratch:
            output = scratch / "output"
            output.mkdir()
            graph = _unlinked(model, scratch / "model")
            request = {
                "model": str(graph),
                "output": str(output),
                "mode": mode,
                "calibration": _written(asked, scratch),
            }
            job = WorkerJob(
                worker=_WORKER,
                python=ensure_environment(ONNX_TOOLS, host),
                request=request,
                scratch=scratch,
                readable=(graph.parent,),
                timeout=1800,
            )
            try:
                run_worker(job, host)
            except WorkerFailed as error:
                raise NotQuantizable(mode=mode, reason=error.facts["reason"]) from error
            take_output(job, output, directory)

    return host.store.directory("quantized", key, make)


def measure(
    models: Mapping[str, ModelArtifact], cases: tuple[GoldenCase, ...], host: Host, *, again: bool
) -> dict[str, float]:
    """The seconds that each model takes for all cases (inputs by the names of the graph) on this machine; what was
    measured before is kept, unless ``again``."""
    asked = tuple(write_case(replace(case, outputs={})) for case in cases)
    key = content_key(
        {
            "models": {name: _digests(model) for name, model in models.items()},
            "cases": [str(Digest.of(content)) for content in asked],
            "machine": [platform.node(), platform.machine(), os.cpu_count()],
            "environment": sorted(REFERENCE.requirements),
            "worker": worker_digest(_MEASURING),
        }
    )
    known = None if again else host.store.record("measured", key)
    if known is None:
        known = _timed(models, asked, host)
        host.store.put_record("measured", key, known)
    return {name: float(seconds) for name, seconds in known.items()}


def _timed(models: Mapping[str, ModelArtifact], asked: tuple[bytes, ...], host: Host) -> dict[str, float]:
    with temporary_directory(prefix="mbuild-measure-") as scratch:
        graphs = {name: model.graph.resolve() for name, model in models.items()}
        job = WorkerJob(
            worker=_MEASURING,
            python=ensure_environment(REFERENCE, host),
            request={
                "models": {name: str(path) for name, path in graphs.items()},
                "cases": _written(asked, scratch),
                "seconds": _MEASURED_SECONDS,
            },
            scratch=scratch,
            readable=tuple(path.parent for path in graphs.values()),
        )
        value = run_worker(job, host).value
        return {name: float(value[name]["seconds"]) for name in models}


def _digests(model: ModelArtifact) -> list[list[str]]:
    return [[str(path), str(digest)] for path, _, digest in model.files]


def _unlinked(model: ModelArtifact, directory: Path) -> Path:
    """The graph, with external data that onnx opens: none that has a second name somewhere (it takes that for an
    attack), as files of caches have."""
    if all(path.stat().st_nlink == 1 for _, path, _ in model.files):
        return model.graph.resolve()
    for name, path, _ in model.files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, directory / name)
    return directory / model.files[0][0]


def _written(asked: tuple[bytes, ...], scratch: Path) -> list[str]:
    paths = []
    for number, content in enumerate(asked):
        paths.append(scratch / f"{number}.npz")
        paths[-1].write_bytes(content)
    return [str(path) for path in paths]
