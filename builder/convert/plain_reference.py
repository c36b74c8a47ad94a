"""What a plain model answers: its steps, the very files that the server runs, around onnxruntime in an environment.

A user's handler.py runs here, in the worker's sandbox, and nowhere else before it is in the image. Answers are kept in
the store by everything that decides them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import canonical_json, content_key
from builder.convert.answers import Questions, keep
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.convert.reference import REFERENCE, lay_out
from builder.convert.tools import worker_digest
from builder.convert.worker import WorkerFailed, WorkerJob, run_worker, take_output
from builder.errors import ConversionError
from builder.host import Host
from builder.host.fs import link_or_copy, temporary_directory
from builder.model.golden import GoldenCase
from builder.model.interface import FILE, Interface
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest
from builder.resources import server_source_directory

_WORKER = "plain_reference"


class StepsNotUsable(ConversionError):
    code = "steps-not-usable"
    message = "the steps around the model cannot be opened: {reason}"
    hint = "a handler.py may import numpy, what `handler.requirements` in model.yaml lists, and `handler.files`"


class PlainCaseNotAnswered(ConversionError):
    code = "plain-case-not-answered"
    message = "the golden cases of the plain model are not answered ({kind}): {reason}"
    hint = (
        "check them against `inputs`; generated ones may be what a handler.py cannot take: put cases of your own into "
        "golden/ (docs/handler.md)"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainSource:
    """Everything that answers: the graph, the interface with the files that lie beside it, and the exact pins that the
    steps need beside onnxruntime and numpy."""

    artifact: ModelArtifact
    interface: Interface
    files: tuple[tuple[str, Path, Digest], ...]
    pins: tuple[str, ...]

    @property
    def environment(self) -> EnvironmentSpec:
        return EnvironmentSpec(name="plain-reference", requirements=(*REFERENCE.requirements, *self.pins))


def tools() -> dict[str, str]:
    """What a lock says about whoever answers the golden cases of a plain model; the pins are those of the image."""
    return {"plain-reference": worker_digest(_WORKER)}


def answer_plain_cases(source: PlainSource, cases: tuple[GoldenCase, ...], host: Host) -> tuple[GoldenCase, ...]:
    """The cases with the plain model's own outputs. Raises StepsNotUsable, PlainCaseNotAnswered, and what running a
    worker and making the environment raise."""
    asked = Questions(cases=cases, interface="plain")
    key = _key(source, asked)
    return asked.read(host.store.directory("plain-answers", key, lambda path: _ask(source, asked, path, host))).cases


def _steps() -> Path:
    return server_source_directory() / "steps"


def _key(source: PlainSource, asked: Questions) -> str:
    return content_key(
        {
            "model": [[str(path), str(digest)] for path, _, digest in source.artifact.files],
            "interface": source.interface.to_json(),
            "files": {name: str(digest) for name, _, digest in source.files},
            "steps": {path.name: str(Digest.of(path.read_bytes())) for path in sorted(_steps().glob("*.py"))},
            "asked": asked.key,
            "pins": sorted(source.environment.requirements),
            "worker": worker_digest(_WORKER),
        }
    )


def _ask(source: PlainSource, asked: Questions, directory: Path, host: Host) -> None:
    python = ensure_environment(source.environment, host)
    with temporary_directory(host.store.root / "scratch", prefix="plain-") as scratch:
        folder, output = scratch / "folder", scratch / "output"
        for made in (folder, output):
            made.mkdir()
        (folder / FILE).write_bytes(canonical_json(source.interface.to_json()))
        for name, local, _ in source.files:
            link_or_copy(local, folder / name)
        graph, top = lay_out(source.artifact, scratch / "model")
        request: Mapping[str, object] = {
            "steps": str(_steps()),
            "folder": str(folder),
            "model": str(graph),
            "in_place": source.artifact.reads_in_place,
            "cases": asked.lay_out(scratch, output),
        }
        job = WorkerJob(
            worker=_WORKER,
            python=python,
            request=request,
            scratch=scratch,
            # Read-only also where they are linked into the scratch directory: a link is the user's own file.
            readable=(top, folder, _steps()),
        )
        try:
            answer = run_worker(job, host)
        except WorkerFailed as error:
            kind, reason = str(error.facts["kind"]), error.facts["reason"]
            if kind == "broken-step":
                raise StepsNotUsable(reason=reason) from error
            raise PlainCaseNotAnswered(kind=kind, reason=reason) from error
        take_output(job, output, directory)
        keep(answer, directory)
