"""How much a server is given: time to start and to stop, memory, processors. Derived from what was measured of its
image, with headroom, and from generous figures where nothing was; each figure comes with its reason. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from builder.deploy.served import Served
from builder.errors import UsageError

MIB = 2**20

_START_TIMES, _LEAST_START = 10, 60
"""A node may be slower than what measured, its disk cold, and its other pods busy."""
_UNMEASURED_START, _UNMEASURED_GPU_START = 600, 1200
_COMPILED_START = 600
"""A driver that compiles PTX for a GPU newer than the image knows takes minutes, once."""
_STEP = 16
_PROPAGATION = 5
"""Seconds until every node's proxy and every load balancer has heard that a pod is going."""
_MARGIN = 5
_GPU_MEMORY = 2048
"""Mi of the host's memory: the driver's context and the libraries that a process maps for CUDA."""
_CPU = re.compile(r"\d+(?:\.\d{1,3})?|\d+m")
_MEMORY = re.compile(r"(\d+)(Mi|Gi)")


class MalformedQuantity(UsageError):
    code = "malformed-quantity"
    message = "{option} is {given!r}, which is no {what}"
    hint = "for example {option} {example}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StartTime:
    """``failures`` checks, ``period`` seconds apart, until a server that is not ready is started anew."""

    period: int
    failures: int
    reason: str

    @property
    def seconds(self) -> int:
        return self.period * self.failures


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """In MiB: what is reserved, and what is the most."""

    request: int
    limit: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizing:
    """``cpu`` is both reserved and the most, since the server has as many threads as it may use processors.
    ``settle`` are the seconds that a server goes on as ever while others hear that it is going, ``grace`` those in
    which requests in flight finish, ``stop`` those after which it is killed: more than both."""

    start: StartTime
    memory: Memory
    cpu: str
    settle: int
    grace: int
    stop: int


def size(served: Served, *, cpu: str = "1", memory: str = "") -> Sizing:
    """``memory`` (as in 512Mi) takes the place of what was measured. Raises MalformedQuantity."""
    if not _CPU.fullmatch(cpu) or not re.search("[1-9]", cpu):
        raise MalformedQuantity(option="--cpu", given=cpu, what="number of processors", example="2 or 500m")
    return Sizing(
        start=_start(served),
        memory=_given(memory) if memory else _memory(served),
        cpu=cpu,
        settle=_PROPAGATION,
        grace=served.grace_seconds,
        stop=_PROPAGATION + served.grace_seconds + _MARGIN,
    )


def _start(served: Served) -> StartTime:
    """Rounded up to a multiple of 10 s, which each period divides."""
    ready = served.measured.ready_seconds if served.measured else None
    if ready is None:
        most = _UNMEASURED_GPU_START if served.on_gpu else _UNMEASURED_START
        return StartTime(period=5, failures=most // 5, reason=f"{most} s in all: no start of this image was measured")
    least = _COMPILED_START if served.face.gpu and served.face.gpu.ptx else _LEAST_START
    most = max(least, math.ceil(ready * _START_TIMES / 10) * 10)
    period = next((each for each in (1, 2, 5) if ready <= each * 5), 10)
    return StartTime(
        period=period, failures=most // period, reason=f"{most} s in all: ready after {ready:.1f} s when measured"
    )


def _memory(served: Served) -> Memory:
    peak = served.measured.peak_memory_bytes if served.measured else None
    gpu = _GPU_MEMORY if served.on_gpu and peak is None else 0
    if peak is None:
        model = math.ceil(served.model_bytes / MIB)
        text = f"nothing was measured: for {model} MiB of models"
        return Memory(request=_round(256 + 2 * model + gpu), limit=_round(512 + 3 * model + gpu), reason=text)
    used = math.ceil(peak / MIB)
    emulator = " under an emulator" if served.measured and served.measured.emulator else ""
    text = f"{used} MiB at most when measured{emulator}; larger requests and more at once need more"
    return Memory(request=_round(math.ceil(used * 1.25) + 32), limit=_round(2 * used + 128), reason=text)


def _given(memory: str) -> Memory:
    found = _MEMORY.fullmatch(memory)
    if not found or not int(found[1]):
        raise MalformedQuantity(option="--memory", given=memory, what="amount of memory", example="512Mi or 4Gi")
    amount = int(found[1]) * (1024 if found[2] == "Gi" else 1)
    return Memory(request=amount, limit=amount, reason="as --memory says")


def _round(mebibytes: int) -> int:
    return math.ceil(mebibytes / _STEP) * _STEP
