"""One request through its stages: decode, wait, run, encode, reply. The calls of one run go through it together.

Small bodies are decoded and encoded on the event loop, large ones on a codec thread, so that nobody waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

from ..http.answers import Refusal, Response
from ..http.connection import Exchange
from ..observe.account import Account
from ..observe.metrics import Durations, ModelMetrics
from ..protocol.codec import HEADER_LENGTH, InferRequest, Signature, decode, encode
from ..protocol.forms import Form
from ..protocol.tensors import Array
from .batching import ALONE, Batching, split, stacked
from .executor import Job

if TYPE_CHECKING:
    from .inference import Inference, Served

_LARGE = 32 * 1024
"""Bytes of JSON, or of strings, that are decoded on a codec thread."""

_LARGE_BINARY = 2**20

_RETRY = (("Retry-After", "1"),)
_LEFT = Response(499)
"""For the log: the status that proxies have for a client that did not wait."""


class Call:
    """A request under way; each stage runs, then hands over to the next. A Waiter while it is in the queue."""

    __slots__ = (
        "_exchange",
        "_inference",
        "_leads",
        "_outputs",
        "_refusal",
        "_request",
        "_response",
        "_run_rows",
        "_served",
        "_spent",
        "batching",
        "deadline_ns",
        "group",
        "queued_ns",
        "rows",
    )

    def __init__(self, inference: Inference, served: Served, exchange: Exchange) -> None:
        self._inference = inference
        self._served = served
        self._exchange = exchange
        self._spent = Durations()
        self._refusal: Refusal | None = None
        self._request: InferRequest
        self._outputs: list[Array]
        self._response: Response
        self._leads = False
        self._run_rows = 0
        self.group: Hashable = ALONE
        self.rows = 1
        self.batching: Batching | None = None
        self.queued_ns = 0
        self.deadline_ns = exchange.received_ns + inference.queue_timeout_ns

    @property
    def metrics(self) -> ModelMetrics:
        return self._served.metrics

    @property
    def gone(self) -> bool:
        return self._exchange.gone

    def start(self) -> None:
        exchange, inference = self._exchange, self._inference
        if decodes_slowly(self._served.model.signature, exchange.request.headers, len(exchange.body)):
            inference.codec.submit(Job(self._work_decode, self._decoded))
        else:
            self._work_decode()
            self._decoded()

    def go_on(self, request: InferRequest, decoding_ns: int, outputs: list[Array] | None, running_ns: int) -> None:
        """Takes over what was begun at once on the loop: a request to run, or its outputs to encode."""
        self._request = request
        self.rows = self._served.rows(request)
        self._spent.compute_input = decoding_ns
        if outputs is None:
            self._decoded()
            return
        self._outputs = outputs
        self._spent.compute_infer = running_ns
        self._leads, self._run_rows = True, self.rows
        self.ran()

    def _work_decode(self) -> None:
        started = time.monotonic_ns()
        if self._is_wanted(started):
            self._guard(self._decode)
            self._spent.compute_input = time.monotonic_ns() - started

    def _decode(self) -> None:
        exchange, limit = self._exchange, self._inference.settings.max_body
        self._request = decode(self._served.model.signature, exchange.request.headers, exchange.body, limit)
        self.rows = self._served.rows(self._request)

    def _decoded(self) -> None:
        if self._refusal is not None or self._exchange.gone:
            self._finish()
            return
        if self._request.timeout_us:
            own = self._exchange.received_ns + self._request.timeout_us * 1000
            self.deadline_ns = min(self.deadline_ns, own)
        self.queued_ns = time.monotonic_ns()
        if self._inference.may_run_here(self._served, self._request, self._exchange):
            self.work_run([self])
            self.ran()
            return
        self.batching = self._served.batching
        self.group = self._served.group(self._request)
        self._inference.runs.submit(self)

    def _is_wanted(self, now_ns: int) -> bool:
        if self._exchange.gone or self._refusal is not None:
            return False
        if now_ns >= self.deadline_ns:
            self.refuse_late()
            return False
        return True

    def refuse_late(self) -> None:
        """Its deadline has passed before it ran."""
        if self.deadline_ns < self._exchange.received_ns + self._inference.queue_timeout_ns:
            text = "Request timeout expired"  # Triton's words for a request's own timeout
        else:
            text = "request waited too long for an inference thread (MBUILD_QUEUE_TIMEOUT)"
        self._refusal = Refusal(503, text, "REJECTED", _RETRY)

    def _run(self) -> None:
        self._outputs = self._served.model.run(self._request.feeds, self._request.form.names)

    def _run_alone(self) -> None:
        started = time.monotonic_ns()
        self._guard(self._run)
        self._spent.compute_infer = time.monotonic_ns() - started
        self._leads, self._run_rows = self._refusal is None, self.rows
        if self._leads:
            self._served.brief.ran(self._request.size, self._spent.compute_infer)

    @staticmethod
    def work_run(calls: list[Call]) -> None:
        """One run for all of them. Where that fails, a run for each: none fails because of another."""
        now = time.monotonic_ns()
        for call in calls:
            call._spent.queue = now - call.queued_ns
        wanted = [call for call in calls if call._is_wanted(now)]
        if len(wanted) > 1 and Call._run_together(wanted):
            return
        for call in wanted:
            call._run_alone()

    @staticmethod
    def _run_together(calls: list[Call]) -> bool:
        first, rows = calls[0], [call.rows for call in calls]
        started = time.monotonic_ns()
        try:
            feeds = stacked([call._request.feeds for call in calls])
            ready = time.monotonic_ns()
            results = first._served.model.run(feeds, first._request.form.names)
            ran = time.monotonic_ns()
            parts = split(results, rows)
        except Exception:
            return False  # whose fault it is shows when each runs alone
        if parts is None:
            first._stop_batching()
            return False
        for call, outputs in zip(calls, parts, strict=True):
            call._outputs = outputs
            call._spent.compute_input += ready - started
            call._spent.compute_infer = ran - ready
            call._run_rows = sum(rows)
        first._leads = True
        return True

    def _stop_batching(self) -> None:
        """The check at load was wrong: these inputs give outputs without the rows."""
        served = self._served
        served.batching, served.why_alone = None, "a run of several rows did not give all of them"
        self._inference.log.event("warning", f"batching is off: {served.why_alone}", model=served.model.name)

    def ran(self) -> None:
        """On the loop, after the run or instead of it."""
        if self._leads:
            self._served.metrics.executed(self._run_rows, self._spent.compute_infer)
        if self._refusal is not None or self._exchange.gone:
            self._finish()
        elif encodes_slowly(self._request.form, self._outputs, self._exchange.request.headers):
            self._inference.codec.submit_urgent(Job(self._work_encode, self._finish))
        else:
            self._work_encode()
            self._finish()

    def _work_encode(self) -> None:
        started = time.monotonic_ns()
        self._guard(self._encode)
        self._spent.compute_output = time.monotonic_ns() - started

    def _encode(self) -> None:
        accepted = self._exchange.request.headers.get("accept-encoding", "")
        self._response = encode(self._served.named, self._request, self._outputs, accepted)

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Exception as error:
            self._refusal = refusal_for(error, self._inference, self._served)

    def _finish(self) -> None:
        metrics, exchange, refusal = self._served.metrics, self._exchange, self._refusal
        self._inference.pending -= 1
        metrics.pending -= 1
        self._spent.request = time.monotonic_ns() - exchange.received_ns
        if self._inference.tells:
            request = getattr(self, "_request", None)
            identifier = request.id or "" if request else ""
            exchange.account = Account(metrics, self._spent, identifier, self.queued_ns, self._run_rows)
        if refusal is not None:
            metrics.failed(refusal.reason, self._spent.request)
            exchange.reply(refusal.response())
        elif exchange.gone:
            metrics.failed("CANCELED", self._spent.request)
            exchange.reply(_LEFT)
        else:
            metrics.succeeded(self._spent, self.rows, self._run_rows)
            exchange.reply(self._response)


def decodes_slowly(signature: Signature, headers: Mapping[str, str], size: int) -> bool:
    """Whether others would have to wait for a body of ``size`` bytes. Binary numbers are taken as they lie."""
    if "content-encoding" in headers:
        return True
    if size <= _LARGE:
        return False
    length = headers.get(HEADER_LENGTH, "")
    is_text = not length.isdecimal() or len(length) > 9 or int(length) > _LARGE
    return is_text or size > _LARGE_BINARY or "BYTES" in signature.datatypes.values()


def encodes_slowly(form: Form, outputs: list[Array], headers: Mapping[str, str]) -> bool:
    """Whether others would have to wait for it."""
    if "accept-encoding" in headers:
        return sum(array.nbytes for array in outputs) > _LARGE // 8
    for each, array in zip(form.wanted, outputs, strict=True):
        if array.size > _LARGE // 8 and (not each.binary or each.picked or each.tensor.datatype == "BYTES"):
            return True
    return False


def refusal_for(error: Exception, inference: Inference, served: Served) -> Refusal:
    """What the client is told: a mistake of ours becomes a 500 and a line in the log, never a lost request."""
    name = served.model.name
    if isinstance(error, Refusal):
        if error.status >= 500:
            facts = {"user_code": error.trace} if error.trace else {}
            inference.log.failure(error.message, error, model=name, **facts)
        return error
    if isinstance(error, MemoryError):
        return Refusal(503, "out of memory for this request", "BACKEND")
    inference.log.failure(f"{type(error).__name__}: {error}", error, model=name)
    return Refusal(500, "the server made a mistake with this request; its log says more", "BACKEND")
