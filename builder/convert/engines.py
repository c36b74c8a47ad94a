"""Makes engines of TensorRT-RTX in a locked environment, on any machine: neither a GPU nor a driver is looked for.

An engine is kept in the store under everything that decides it; a build that needs it again compiles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.canonical import content_key
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.convert.tools import tools_of, worker_digest
from builder.convert.watching import watched
from builder.convert.worker import WorkerFailed, WorkerJob, run_worker, take_output
from builder.errors import ConversionError
from builder.events import Progress, StepFinished, StepStarted
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.model.engines import InputSizes
from builder.model.source import ModelArtifact

VERSION = "1.7.1.116"
"""Of the compiler. The execution provider in the image (base-images/tensorrt) has the same one: no other loads it."""

TENSORRT_RTX = EnvironmentSpec(
    name="tensorrt-rtx",
    requirements=(
        "numpy==2.4.6",
        f"tensorrt-rtx-cu13-bindings=={VERSION}",
        f"tensorrt-rtx-cu13-libs=={VERSION}",
    ),
)

_WORKER, _KIND, _ENGINE = "tensorrt_rtx_worker", "engines", "engine"
_LONGEST_SECONDS = 4 * 3600


class EngineNotMade(ConversionError):
    code = "engine-not-made"
    message = "TensorRT-RTX makes no engine of {model} for compute capability {capability}: {reason}"
    hint = "`--sm none` packs the ONNX alone, of which the GPU's provider takes what it can; or --target cuda13"


def tools() -> dict[str, str]:
    """What a lock says about it."""
    return tools_of(_KIND, _WORKER, TENSORRT_RTX)


def make_engine(name: str, model: ModelArtifact, capability: str, sizes: Sequence[InputSizes], host: Host) -> Path:
    """The engine's file; ``name`` is for people. Raises EngineNotMade, and what running a worker raises."""
    profile = {one.name: one.to_json() for one in sizes}
    key = content_key(
        {
            "model": [[str(path), str(digest)] for path, _, digest in model.files],
            "capability": capability,
            "profile": profile,
            "environment": sorted(TENSORRT_RTX.requirements),
            "worker": worker_digest(_WORKER),
        }
    )

    def make(directory: Path) -> None:
        python = ensure_environment(TENSORRT_RTX, host)
        with temporary_directory(prefix="mbuild-engine-") as scratch:
            output, progress = scratch / "output", scratch / "progress"
            output.mkdir()
            request = {
                "model": str(model.graph.resolve()),
                "output": str(output),
                "capability": capability,
                "profile": profile,
                "progress": str(progress),
            }
            job = WorkerJob(
                worker=_WORKER,
                python=python,
                request=request,
                scratch=scratch,
                readable=tuple(path.resolve() for _, path, _ in model.files),
                timeout=_LONGEST_SECONDS,
            )
            try:
                with _told(f"engine {name} {capability}", progress, host):
                    run_worker(job, host)
            except WorkerFailed as error:
                raise EngineNotMade(model=name, capability=capability, reason=error.facts["reason"]) from error
            take_output(job, output, directory)

    return host.store.directory(_KIND, key, make) / _ENGINE


@contextmanager
def _told(step: str, progress: Path, host: Host) -> Iterator[None]:
    """A step of its own, with what the worker writes of its progress: a large model takes minutes."""
    began = host.clock.monotonic()

    def look() -> Progress | None:
        found = _read(progress)
        return Progress(step=step, done=found[0], total=found[1], unit="phases") if found else None

    host.events.emit(StepStarted(step=step))
    with watched(look, host):
        yield
    host.events.emit(StepFinished(step=step, seconds=host.clock.monotonic() - began, cached=False))


def _read(progress: Path) -> tuple[int, int] | None:
    try:
        done, total, *_ = progress.read_text(encoding="utf-8").split(" ", 2)
        return int(done), int(total)
    except (OSError, ValueError):
        return None
