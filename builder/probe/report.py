"""The whole probe: static checks, start, replay, measurements, stop. ``ProbeReport`` is what it gives; what is wrong
is a ProbeError (exit code 9), with the container's last log lines once it has started."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

from builder.errors import ProbeError
from builder.events import Warned
from builder.host import Host
from builder.host.clock import rfc3339, seconds_of
from builder.probe.cases import ModelCases, carried_cases
from builder.probe.checks import Check, Finding, static_checks
from builder.probe.contents import ImageContents, read_contents
from builder.probe.device import Device, device_of, terms_for
from builder.probe.replay import Form, Latency, Replay, measure, replay, wait_until_ready
from builder.probe.runner import ImageRunner, Limits, ProbedImage, RunningImage
from builder.probe.start import StartSplit, start_split

_STARTING_LINES = 1000
_MOST_LISTED = 10
_MOST_WARNED = 3
_READ_ONLY = "Read-only file system"


class CheckFailed(ProbeError):
    code = "check-failed"
    message = "the image breaks the rule {check}:\n{findings}"
    hint = "docs/security.md says what each rule is for and which part of a build decides it"


class NotStopping(ProbeError):
    code = "not-stopping"
    message = "SIGTERM did not end the container well within {grace:g} s ({ending}); its last lines:\n{log}"
    hint = "the server must handle SIGTERM as process 1, finish what it has begun and exit with 0"


class Died(ProbeError):
    code = "container-died"
    message = "the container ended while it was in use ({ending}); its last lines:\n{log}"
    hint = "the lines above are the server's own; a memory limit that is too low also ends it"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """A probe that went well. Times in seconds unless the name says ms, sizes in bytes. ``memory_limit`` says what
    enforced the limit: a cgroup, the engine, or rlimit (best effort). ``peak_memory_bytes`` is the most that was
    resident of the server's process (builder/probe/memory.py); ``start`` is where ``ready_seconds`` went. Both are None
    where nothing tells. ``emulator`` names what stood in for the image's processor, and then times and memory are its
    own; it is empty where nothing did. ``device`` is what served. ``at`` is when it was, in seconds since 1970, and
    ``is_remembered`` where that was an earlier test of the same image (docs/adr/0019-tests-remembered.md)."""

    runner: str
    emulator: str
    device: Device
    ready_seconds: float
    start: StartSplit | None
    cases: tuple[Replay, ...]
    latency_json: Latency
    latency_binary: Latency
    peak_memory_bytes: int | None
    memory_limit: str
    stop_seconds: float
    exit_code: int
    checks: tuple[Check, ...]
    at: int
    is_remembered: bool = False

    @property
    def latency(self) -> Latency:
        """With the binary extension, which costs the least."""
        return self.latency_binary

    @property
    def summary(self) -> str:
        by = f" under {self.emulator}" if self.emulator else ""
        on = f" on the {self.device.provider}" if self.device.refusal else ""
        when = f" at {rfc3339(self.at)}" if self.is_remembered else ""
        return f"golden cases: {len(self.cases)} right{by}{on}{when}, ready in {self.ready_seconds:.2f} s"

    def to_json(self) -> dict[str, object]:
        return {
            "runner": self.runner,
            "emulator": self.emulator or None,
            **self.device.to_json(),
            "ready_seconds": round(self.ready_seconds, 3),
            "start": self.start.to_json() if self.start else None,
            "cases": [case.to_json() for case in self.cases],
            "latency": {"json": self.latency_json.to_json(), "binary": self.latency_binary.to_json()},
            "peak_memory_bytes": self.peak_memory_bytes,
            "memory_limit": self.memory_limit,
            "stop_seconds": round(self.stop_seconds, 3),
            "exit_code": self.exit_code,
            "checks": [check.to_json() for check in self.checks],
            "at": rfc3339(self.at),
            "remembered": self.is_remembered,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Of an image that is for no GPU: what a GPU image said is not read."""
        return cls(
            runner=value["runner"],
            emulator=value["emulator"] or "",
            device=Device(provider=value["provider"]),
            ready_seconds=value["ready_seconds"],
            start=StartSplit.from_json(value["start"]) if value["start"] else None,
            cases=tuple(map(Replay.from_json, value["cases"])),
            latency_json=Latency.from_json(value["latency"]["json"]),
            latency_binary=Latency.from_json(value["latency"]["binary"]),
            peak_memory_bytes=value["peak_memory_bytes"],
            memory_limit=value["memory_limit"],
            stop_seconds=value["stop_seconds"],
            exit_code=value["exit_code"],
            checks=tuple(map(Check.from_json, value["checks"])),
            at=seconds_of(value["at"]),
            is_remembered=value["remembered"],
        )


def probe(
    image: ProbedImage, runner: ImageRunner, cases: tuple[ModelCases, ...], limits: Limits, host: Host
) -> ProbeReport:
    """Check, run, replay and stop an image; ``cases`` empty: those that the image carries.

    Raises a ProbeError for the first thing that is wrong, ToolMissing where this machine cannot run it.
    """
    contents = read_contents(image.layout, image.manifest, host.store)
    checks = _static(image, contents, host)
    cases = cases or carried_cases(contents)
    terms = terms_for(image, contents, runner, limits, host)
    limits = terms.limits
    require_passed(terms.checks, host)
    with closing(runner.start(image, limits)) as running:
        ready = wait_until_ready(running, limits, host.clock)
        replays = replay(running, cases, limits)
        latency = measure(running, cases, limits, host.clock)
        peak, start = running.peak_memory(), start_split(running.log(_STARTING_LINES), ready)
        device, behaviour = device_of(running, terms, host), _behaviour(running)
        seconds, code = _stop(running, limits, host)
        seen = (*device.checks, behaviour, _writes(running))
        require_passed(seen, host)
        return ProbeReport(
            runner=runner.name,
            emulator=runner.emulator,
            device=device,
            ready_seconds=ready,
            start=start,
            cases=replays,
            latency_json=latency[Form.JSON],
            latency_binary=latency[Form.BINARY],
            peak_memory_bytes=peak,
            memory_limit=running.memory_limit,
            stop_seconds=seconds,
            exit_code=code,
            checks=(*checks, *terms.checks, *seen),
            at=int(host.clock.now()),
        )


def look_at(image: ProbedImage, host: Host) -> tuple[Check, ...]:
    """The checks that need no container. Raises CheckFailed."""
    return _static(image, read_contents(image.layout, image.manifest, host.store), host)


def _static(image: ProbedImage, contents: ImageContents, host: Host) -> tuple[Check, ...]:
    checks = static_checks(image, contents)
    require_passed(checks, host)
    return checks


def require_passed(checks: tuple[Check, ...], host: Host) -> None:
    """Raise CheckFailed for the first rule that is broken by us; warn where a base image of others breaks one."""
    for check in checks:
        if not check.passed:
            ours = [finding for finding in check.findings if not finding.foreign]
            raise CheckFailed(check=check.name, findings=_listed(ours))
        if check.findings:
            texts = [finding.text for finding in check.findings[:_MOST_WARNED]]
            more = [f"and {len(check.findings) - len(texts)} more"] if len(check.findings) > len(texts) else []
            message = f"the base image breaks the rule {check.name}: {'; '.join([*texts, *more])}"
            host.events.emit(Warned(message=message, hint="--format json has every finding"))


def _listed(findings: list[Finding]) -> str:
    lines = [f"- {finding.text}" for finding in findings[:_MOST_LISTED]]
    if len(findings) > _MOST_LISTED:
        lines.append(f"- and {len(findings) - _MOST_LISTED} more")
    return "\n".join(lines)


def _behaviour(running: RunningImage) -> Check:
    attempts = running.outbound_attempts()
    text = f"it tried to reach an address outside or to look up a name (the kernel counts {attempts} signs of it)"
    return Check(name="no-outbound", findings=(Finding(text=text),) if attempts else ())


def _writes(running: RunningImage) -> Check:
    """The root is read-only, so nothing was written; what tried to says so in the log, if anywhere."""
    lines = [line for line in running.log(lines=1000).splitlines() if _READ_ONLY in line]
    return Check(name="no-writes", findings=tuple(Finding(text=f"it logged: {line}") for line in lines))


def _stop(running: RunningImage, limits: Limits, host: Host) -> tuple[float, int]:
    state = running.state()
    if not state.running:
        raise Died(ending=state.ending, log=running.log())
    begun = host.clock.monotonic()
    code = running.stop(limits.grace_seconds)
    seconds = host.clock.monotonic() - begun
    if code != 0:
        raise NotStopping(grace=limits.grace_seconds, ending=f"exit code {code}", log=running.log())
    return seconds, code
