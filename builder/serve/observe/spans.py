"""What a request was, as OpenTelemetry spans in the layout of Triton's traces, and whether it is traced at all.

One trace has ``InferRequest`` (the HTTP request), below it one span with the model's name, below that ``queue`` and
``compute``. Trace context comes as W3C ``traceparent``; nothing is sent on, since this server calls nobody.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .account import Account

SERVER, INTERNAL = 2, 1
ERROR = 2
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LARGEST_STATE = 512

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Span:
    """Times are nanoseconds since the epoch, identifiers are lower-case hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: tuple[tuple[str, Value], ...] = ()
    events: tuple[tuple[str, int], ...] = ()
    status: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True)
class Parent:
    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered, or left by its client (status 499)."""

    method: str
    path: str
    headers: Mapping[str, str]
    secure: bool
    client: str
    status: int
    received_ns: int
    ended_ns: int
    account: Account | None


def parent_of(headers: Mapping[str, str]) -> Parent | None:
    """The caller's span, None where the header is absent or not as the W3C recommendation has it."""
    header = headers.get("traceparent")
    found = _PARENT.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    state = headers.get("tracestate", "")
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1), state if len(state) <= _LARGEST_STATE else "")


Sampler = Callable[[Parent | None, str], bool]


def sampler(name: str, ratio: float) -> Sampler:
    """By the names of OTEL_TRACES_SAMPLER. Raises KeyError."""
    bound = round(ratio * 2**64)
    roots: dict[str, Callable[[str], bool]] = {
        "always_on": lambda _: True,
        "always_off": lambda _: False,
        "traceidratio": lambda trace_id: int(trace_id[16:], 16) < bound,
    }
    root = roots[name.removeprefix("parentbased_")]
    if name.startswith("parentbased_"):
        return lambda parent, trace_id: parent.sampled if parent else root(trace_id)
    return lambda _, trace_id: root(trace_id)


def identifier(size: int) -> str:
    """Random, never only zeros."""
    return f"{random.getrandbits(8 * size) or 1:0{2 * size}x}"


def span_count(account: Account | None) -> int:
    """How many ``spans`` would make."""
    return 1 if account is None else 2 + bool(account.queued_ns) + bool(account.spent.compute_infer)


def spans(answered: Answered, parent: Parent | None, trace_id: str, epoch_ns: int) -> list[Span]:
    """``epoch_ns`` is what turns the clock of ``received_ns`` into time since the epoch."""
    start, end = answered.received_ns + epoch_ns, answered.ended_ns + epoch_ns
    failed = ERROR if answered.status >= 500 else 0
    state = parent.state if parent else ""

    def span(above: str, name: str, times: tuple[int, int], kind: int = INTERNAL, **more: Any) -> Span:
        return Span(trace_id, identifier(8), above, name, kind, *times, state=state, **more)

    root = span(
        parent.span_id if parent else "",
        "InferRequest",
        (start, end),
        SERVER,
        attributes=_http(answered),
        status=failed,
    )
    account = answered.account
    if account is None:
        return [root]
    model = span(
        root.span_id,
        account.model,
        (start, end),
        attributes=_triton(account, root.span_id),
        events=(("REQUEST_START", start), *_queued(account, epoch_ns), ("REQUEST_END", end)),
        status=failed,
    )
    found = [root, model]
    if account.queued_ns:
        queued = account.queued_ns + epoch_ns
        found.append(
            span(model.span_id, "queue", (queued, queued + account.spent.queue if account.spent.compute_infer else end))
        )
    if account.spent.compute_infer:
        times = _compute(account, start, epoch_ns)
        names = ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
        events = tuple(zip(names, times, strict=True))
        found.append(span(model.span_id, "compute", (times[0], times[-1]), events=events))
    return found


def _queued(account: Account, epoch_ns: int) -> tuple[tuple[str, int], ...]:
    return (("QUEUE_START", account.queued_ns + epoch_ns),) if account.queued_ns else ()


def _compute(account: Account, start: int, epoch_ns: int) -> tuple[int, int, int, int]:
    """Where the run began, had its input, had its output, and the answer was written down."""
    if account.queued_ns:
        begun = account.queued_ns + account.spent.queue + epoch_ns
        fed = begun
    else:
        begun, fed = start, start + account.spent.compute_input
    ran = fed + account.spent.compute_infer
    return begun, fed, ran, ran + account.spent.compute_output


def _http(answered: Answered) -> tuple[tuple[str, Value], ...]:
    """OpenTelemetry's semantic conventions for HTTP servers."""
    found: list[tuple[str, Value]] = [
        ("http.request.method", answered.method),
        ("url.path", answered.path),
        ("url.scheme", "https" if answered.secure else "http"),
        ("http.response.status_code", answered.status),
        ("client.address", answered.client),
    ]
    if agent := answered.headers.get("user-agent"):
        found.append(("user_agent.original", agent[:200]))
    if answered.status >= 500:
        found.append(("error.type", str(answered.status)))
    return tuple(found)


def _triton(account: Account, parent_id: str) -> tuple[tuple[str, Value], ...]:
    """As Triton names them; its version is a number."""
    version: Value = int(account.version) if account.version.isdigit() else account.version
    return (
        ("triton.model_name", account.model),
        ("triton.model_version", version),
        ("triton.trace_parent_id", parent_id),
        ("triton.trace_request_id", account.request_id),
        ("mbuild.batch_rows", account.run_rows),
    )
