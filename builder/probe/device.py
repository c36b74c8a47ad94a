"""What an image ran on: a GPU image refuses to start without a GPU (docs/gpu.md), which is looked at before the CPU is
allowed; where there is a GPU, it is what must have served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace

from builder.host import Host
from builder.host.clock import Clock
from builder.host.container import ALL_GPUS
from builder.host.http import NetworkError, Request
from builder.probe.checks import Check, Finding
from builder.probe.contents import ImageContents
from builder.probe.gpu import FACTS
from builder.probe.runner import ImageRunner, Limits, ProbedImage, RunningImage

_ALLOW_CPU = ("MBUILD_ALLOW_CPU", "1")
CPU = "CPU"
NO_GPU = "CPU (no GPU here)"
_POLL_SECONDS = 0.02
_GPU_MEMORY_BYTES = 16 << 30
_GPU_READY_SECONDS = 300.0
_MEMORY_USED = re.compile(r"^nv_gpu_memory_used_bytes(?:\{[^}]*\})? (\d+)", re.MULTILINE)
_SERVES = re.compile(r"^mbuild_gpu_serves 1$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """How a GPU image ended without a GPU: what it said, and the seconds from its start."""

    sentence: str
    seconds: float

    def to_json(self) -> dict[str, object]:
        return {"sentence": self.sentence, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """On which an image is started: an image for GPUs gets the GPU, or what allows it the CPU once it has refused."""

    limits: Limits
    is_for_gpu: bool = False
    refusal: Refusal | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """``provider`` in words; ``gpu_memory_bytes`` are in use of the GPU, by all, None where nothing tells."""

    provider: str
    refusal: Refusal | None = None
    gpu_memory_bytes: int | None = None
    checks: tuple[Check, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "provider": self.provider,
            "gpu_memory_bytes": self.gpu_memory_bytes,
            "refused_without_gpu": self.refusal.to_json() if self.refusal else None,
        }

    @property
    def is_gpu_image(self) -> bool:
        """Whether a GPU is what it was made for."""
        return self.provider != CPU


def terms_for(image: ProbedImage, contents: ImageContents, runner: ImageRunner, limits: Limits, host: Host) -> Terms:
    """Starts a GPU image once where there is no GPU, to see that it refuses."""
    if FACTS not in contents.kept:
        return Terms(limits=limits)
    if runner.has_gpu:
        return Terms(limits=_with_gpu(limits), is_for_gpu=True)
    found, check = _refusal(image, runner, limits, host.clock)
    allowed = replace(limits, env=(*limits.env, _ALLOW_CPU))
    return Terms(limits=allowed, is_for_gpu=True, refusal=found, checks=(check,))


def device_of(running: RunningImage, terms: Terms, host: Host) -> Device:
    """What serves, by the server's own words; a finding where it should be a GPU and is not."""
    if not terms.is_for_gpu:
        return Device(provider=CPU)
    if not terms.limits.gpus:
        return Device(provider=NO_GPU, refusal=terms.refusal)
    figures, said = _asked(running, "/metrics", host), _asked(running, "/v2", host)
    used = _MEMORY_USED.search(figures)
    return Device(
        provider=provider_in(said),
        gpu_memory_bytes=int(used[1]) if used else None,
        checks=(_served_by_gpu(is_served=_SERVES.search(figures) is not None),),
    )


def provider_in(metadata: str) -> str:
    """For example ``CUDAExecutionProvider on GPU 0: NVIDIA H200``."""
    try:
        said = json.loads(metadata)["parameters"]
        return f"{said['provider']} on {said['device']}"
    except (ValueError, LookupError, TypeError):
        return "unknown"


def _with_gpu(limits: Limits) -> Limits:
    """CUDA's libraries and what they keep take room and time of the machine, too."""
    return replace(
        limits,
        gpus=ALL_GPUS,
        memory_bytes=max(limits.memory_bytes or 0, _GPU_MEMORY_BYTES),
        ready_seconds=max(limits.ready_seconds, _GPU_READY_SECONDS),
    )


def _refusal(image: ProbedImage, runner: ImageRunner, limits: Limits, clock: Clock) -> tuple[Refusal | None, Check]:
    """Starts it without a GPU. It must end by itself, with another exit code than 0 and a sentence that says why."""
    with closing(runner.start(image, limits)) as running:
        deadline = running.started + limits.ready_seconds
        while running.state().running and clock.monotonic() < deadline:
            clock.sleep(_POLL_SECONDS)
        seconds, state, log = clock.monotonic() - running.started, running.state(), running.log()
    found = Refusal(sentence=plain_sentence(log.splitlines()), seconds=seconds)
    if state.running:
        text = f"without a GPU it still runs after {limits.ready_seconds:g} s, when it should have refused to start"
        return None, _check(text)
    if state.exit_code == 0 or not found.sentence:
        return None, _check(f"without a GPU it ended with exit code {state.exit_code} and did not say why:\n{log}")
    return found, _check()


def plain_sentence(lines: Iterable[str]) -> str:
    """Of the last error in a log of JSON lines, if it was also said on a line of its own."""
    plain, found = set[str](), ""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            plain.add(line.strip())
            continue
        if isinstance(event, dict) and event.get("level") == "error" and event.get("message") in plain:
            found = str(event["message"])
    return found


def _asked(running: RunningImage, path: str, host: Host) -> str:
    """Nothing where there is no answer."""
    address = "{}:{}".format(*running.address)
    try:
        with host.http.send(Request(verb="GET", url=f"http://{address}{path}")) as response:
            return response.read().decode(errors="replace")
    except NetworkError:
        return ""


def _served_by_gpu(*, is_served: bool) -> Check:
    text = "the GPU was there, and the server does not say that it is what served (mbuild_gpu_serves in /metrics)"
    return Check(name="gpu-serves", findings=() if is_served else (Finding(text=text),))


def _check(text: str = "") -> Check:
    return Check(name="fails-closed", findings=(Finding(text=text),) if text else ())
