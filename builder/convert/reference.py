"""What the model itself answers: golden cases run through onnxruntime in an environment of its own.

Large weights are computed with where they lie: what is mapped of them the kernel takes back when it needs the memory,
so that a model larger than the memory is verified, too. The same pins answer on every machine; the answers are kept in
the store by everything that decides them, so that a warm build asks nobody. Refuses what onnxruntime refuses, in its
own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from builder.canonical import content_key
from builder.convert.answers import Answers, Questions, keep
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.convert.tools import tools_of, worker_digest
from builder.convert.worker import WorkerFailed, WorkerJob, run_worker, take_output
from builder.errors import ConversionError
from builder.host import Host
from builder.host.fs import link_or_copy, temporary_directory
from builder.model.golden import GoldenCase
from builder.model.source import ModelArtifact

REFERENCE = EnvironmentSpec(name="onnx-reference", requirements=("numpy==2.4.6", "onnxruntime==1.31.1"), megabytes=140)
"""numpy 2.4 is the newest for Python 3.11; the wheels exist for 3.11 to 3.14."""

WORKER = "onnx_reference"


class ModelNotRunnable(ConversionError):
    code = "model-not-runnable"
    message = "onnxruntime does not load the model ({kind}): {reason}"
    hint = "{advice}"


class CaseNotAnswered(ConversionError):
    code = "case-not-answered"
    message = "onnxruntime loads the model but does not answer its cases ({kind}): {reason}"
    hint = (
        "check the golden cases against the model's inputs; generated ones take their sizes from `dims` in model.yaml"
    )


_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "unsupported-opset": "export the model again with a lower opset, or convert it with onnx.version_converter",
        "unsupported-operator": "the model uses an operator that onnxruntime does not have; export it without that one",
        "missing-file": "put the files with external data beside the model, below the same directory",
        "bad-model": "check it with onnx.checker.check_model; the file may be truncated",
    }
)


def tools() -> dict[str, str]:
    """What a lock says about whoever answers the golden cases."""
    return tools_of("reference", WORKER, REFERENCE)


def answer_cases(model: ModelArtifact, cases: tuple[GoldenCase, ...], host: Host) -> tuple[GoldenCase, ...]:
    """The cases with the model's own outputs; what they had as outputs is not looked at.

    Raises ModelNotRunnable, CaseNotAnswered, WorkerCrashed or WorkerTimeout, and what making the environment raises.
    """
    return answer_questions(model, Questions(cases=cases), host).cases


def answer_questions(model: ModelArtifact, asked: Questions, host: Host) -> Answers:
    """As ``answer_cases``; optional cases may stay unanswered."""
    return asked.read(host.store.directory("answers", _key(model, asked), lambda path: _ask(model, asked, path, host)))


def _key(model: ModelArtifact, asked: Questions) -> str:
    return content_key(
        {
            "model": [[str(path), str(digest)] for path, _, digest in model.files],
            **asked.key,
            "pins": sorted(REFERENCE.requirements),
            "worker": worker_digest(WORKER),
        }
    )


def _ask(model: ModelArtifact, asked: Questions, directory: Path, host: Host) -> None:
    """Run the worker; it writes ``N.npz`` with the outputs of case N into ``directory``."""
    python = ensure_environment(REFERENCE, host)
    with temporary_directory(host.store.root / "scratch", prefix="reference-") as scratch:
        output = scratch / "output"
        output.mkdir()
        cases = asked.lay_out(scratch, output)
        graph, top = lay_out(model, scratch / "model")
        job = WorkerJob(
            worker=WORKER,
            python=python,
            request={"model": str(graph), "in_place": model.reads_in_place, "cases": cases},
            scratch=scratch,
            readable=(top,),
        )
        try:
            answer = run_worker(job, host)
        except WorkerFailed as error:
            raise _told(error) from error
        take_output(job, output, directory)
        keep(answer, directory)


def _told(error: WorkerFailed) -> ConversionError:
    kind, reason = str(error.facts["kind"]), error.facts["reason"]
    if kind in _ADVICE:
        return ModelNotRunnable(kind=kind, reason=reason, advice=_ADVICE[kind])
    return CaseNotAnswered(kind=kind, reason=reason)


def lay_out(model: ModelArtifact, directory: Path) -> tuple[Path, Path]:
    """The graph, and the place with all its files, which a worker may read: read-only also where it is linked into the
    worker's own directory, since a link is the user's own file."""
    graph = _laid_out(model, directory)
    return graph, graph.parents[len(model.files[0][0].parts) - 1] if len(model.files) > 1 else graph


def _laid_out(model: ModelArtifact, directory: Path) -> Path:
    """The graph, with its external data where it looks for them: as they lie, or linked together in ``directory``."""
    graph = model.files[0][0]
    if len(model.files) == 1:
        return model.graph.absolute()
    top = _top(model.graph, graph)
    if top is not None and all(path == top.joinpath(*name.parts) for name, path, _ in model.files):
        return model.graph.absolute()
    for name, path, _ in model.files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, directory / name)
    return directory / graph


def _top(path: Path, name: PurePosixPath) -> Path | None:
    """The directory below which ``path`` is called ``name``."""
    return path.parents[len(name.parts) - 1] if path.parts[-len(name.parts) :] == name.parts else None
