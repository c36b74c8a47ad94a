"""Builds many models together: base, runtime and environments are made once, as many builds run side by side as the
machine carries, a failure stops nobody else, and what an earlier run made is not made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from builder.canonical import content_key
from builder.errors import MbuildError, UsageError
from builder.events import Event, EventSink, Produced, StepFinished, StepStarted, Warned
from builder.host import Host
from builder.host.remembered import is_settled, stamp
from builder.host.store import Store
from builder.model.manifest import read_manifest
from builder.model.source import list_model
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.reference import Reference
from builder.pipeline.build import build
from builder.plan.fleet import Fleet, Member, PlannedMember
from builder.plan.spec import BuildSpec, Delivery
from builder.registry.client import connect
from builder.registry.credentials import Purpose
from builder.resources import package_directory

_KIND = "fleet"
_BYTES_EACH = 2 << 30
"""Memory that a build is counted with: a conversion holds the framework and the model."""


class SameName(UsageError):
    code = "fleet-same-name"
    message = "{first} and {second} are both called {name} for {target}"
    hint = "give one of them another `name` in its model.yaml: images of one name replace each other"


class TagMissing(UsageError):
    code = "fleet-tag-missing"
    message = "nothing says where {name} is pushed"
    hint = "add --registry REG/PATH, or `registry` at the top of fleet.yaml"


class OutsideFleet(UsageError):
    code = "fleet-outside"
    message = "{path} does not lie below {root}, so another machine will not have it there"
    hint = "run the command where the models lie, or name that place with --root"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a member. ``digest`` is the image's, None where ``error`` says why there is none; ``uploaded`` are
    the bytes that its push moved; ``unchanged``: an earlier run made it of the same files in the same way, and it is
    where it was put."""

    name: str
    directory: Path
    target: str
    seconds: float
    digest: Digest | None = None
    size: int = 0
    uploaded: int = 0
    reference: str = ""
    unchanged: bool = False
    error: MbuildError | None = None

    def to_json(self) -> dict[str, object]:
        error = self.error
        return {
            "name": self.name,
            "directory": str(self.directory),
            "target": self.target,
            "seconds": round(self.seconds, 3),
            "digest": str(self.digest) if self.digest else None,
            "size": self.size,
            "uploaded": self.uploaded,
            "reference": self.reference or None,
            "unchanged": self.unchanged,
            "error": {"code": error.code, "exit_code": error.exit_code, "message": str(error), "hint": error.advice}
            if error
            else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A member with everything that is to be done for it."""

    name: str
    spec: BuildSpec
    delivery: Delivery


def plan_fleet(fleet: Fleet, spec_of: Callable[[Member], BuildSpec], delivery: Delivery) -> tuple[Job, ...]:
    """What is to be built, by the names and versions of the models. ``delivery`` holds for all but for its tag.

    Raises SameName, MalformedReference, and what listing a directory or reading its model.yaml raises.
    """
    jobs: dict[tuple[str, str], Job] = {}
    for member in fleet.members:
        manifest = read_manifest(list_model(member.directory))
        tag = member.tag or (f"{fleet.registry}/{manifest.name}:{manifest.version}" if fleet.registry else "")
        own = replace(delivery, tags=(Reference.parse(tag),) if tag else ())
        job = Job(name=manifest.name, spec=spec_of(member), delivery=own)
        key = (manifest.name, member.target)
        if key in jobs:
            first = jobs[key].spec.model
            raise SameName(first=first, second=member.directory, name=manifest.name, target=member.target)
        jobs[key] = job
    return tuple(jobs.values())


def planned_members(jobs: Sequence[Job], root: Path) -> tuple[PlannedMember, ...]:
    """The jobs as another machine is told to do them, with paths relative to ``root``. Raises TagMissing and
    OutsideFleet."""
    return tuple(_planned(job, root.resolve()) for job in jobs)


def _planned(job: Job, root: Path) -> PlannedMember:
    if job.delivery.tag is None:
        raise TagMissing(name=job.name)
    directory = job.spec.model.resolve()
    if not directory.is_relative_to(root):
        raise OutsideFleet(path=job.spec.model, root=root)
    path = directory.relative_to(root).as_posix()
    return PlannedMember(name=job.name, path=path, target=job.spec.target, tag=job.delivery.tag.familiar)


def build_fleet(jobs: Sequence[Job], host: Host, at_once: int = 0) -> tuple[Outcome, ...]:
    """Every outcome, in the order of the jobs. ``at_once`` 0: as many as processors and memory carry."""
    with ThreadPoolExecutor(at_once or _carried()) as pool:
        return tuple(pool.map(lambda job: _build(job, host), jobs))


def _carried() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // _BYTES_EACH))


def _build(job: Job, host: Host) -> Outcome:
    """A host of its own: which steps put something into the store is counted there."""
    own = replace(host, store=Store(host.store.root), events=_Quiet(host.events, job.name))
    step = f"model {job.name}"
    host.events.emit(StepStarted(step=step))
    began = host.clock.monotonic()
    outcome = Outcome(name=job.name, directory=job.spec.model, target=job.spec.target, seconds=0.0)
    try:
        outcome = replace(outcome, **(_unchanged(job, own) or _built(job, own)))
        detail = outcome.digest.short if outcome.digest else ""
    except MbuildError as error:
        outcome, detail = replace(outcome, error=error), f"failed: {error}"
    outcome = replace(outcome, seconds=host.clock.monotonic() - began)
    host.events.emit(StepFinished(step=step, seconds=outcome.seconds, cached=outcome.unchanged, detail=detail))
    return outcome


def _built(job: Job, host: Host) -> dict[str, Any]:
    before, began = _stamps(job), host.clock.now()
    result = build(job.spec, job.delivery, host)
    digest, size, reference = result.digest, result.size, str(result.reference or "")
    if is_settled(before.values(), began) and _stamps(job) == before:
        record = {"layout": str(result.layout or ""), "digest": str(digest), "size": size, "reference": reference}
        host.store.put_record(_KIND, _key(job, host), record)
    uploaded = sum(one.uploaded for one in result.pushed)
    return {"digest": digest, "size": size, "uploaded": uploaded, "reference": reference}


def _unchanged(job: Job, host: Host) -> dict[str, Any] | None:
    """What an earlier run made, if it is still where it was put: in its layout, and in the registry."""
    record = host.store.record(_KIND, _key(job, host))
    if record is None:
        return None
    digest = Digest(record["digest"])
    if record["layout"] and not Layout(Path(record["layout"])).blob_path(digest).is_file():
        return None
    tag = job.delivery.tag
    if job.delivery.push and tag is not None:
        known = connect(tag, Purpose.PULL, host).manifest_digest(tag.tag or "latest")
        if known != digest:
            return None
    return {"digest": digest, "size": record["size"], "reference": record["reference"], "unchanged": True}


def _stamps(job: Job) -> dict[str, tuple[int, ...]]:
    source = list_model(job.spec.model)
    return {str(source.locate(file.path)): stamp(source.locate(file.path)) for file in source.files}


def _key(job: Job, host: Host) -> str:
    """Of the files as the file system describes them, the options, the lock, and mbuild's own code."""
    lock = job.spec.lock
    return content_key(
        {
            "files": _stamps(job),
            "spec": repr(job.spec),
            "delivery": repr(job.delivery),
            "lock": str(Digest.of_file(lock)) if lock.is_file() else "",
            "epoch": host.environ.get("SOURCE_DATE_EPOCH", ""),
            "code": _code(),
        }
    )


@cache
def _code() -> str:
    return content_key({str(path): stamp(path) for path in sorted(package_directory().rglob("*.*"))})


class _Quiet:
    """Of one member's events only what a person must know, with the member's name."""

    def __init__(self, events: EventSink, name: str) -> None:
        self._events, self._name = events, name

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned):
            self._events.emit(Warned(message=f"{self._name}: {event.message}", hint=event.hint))
        elif isinstance(event, Produced):
            self._events.emit(event)
