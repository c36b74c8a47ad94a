"""One inference request through its stages: decode, wait, run, encode, reply.

Small bodies are decoded and encoded on the event loop, large ones on a codec thread, so that nobody waits for them.
Runs go to the inference threads first come first served; only a model that was measured to be tiny runs on the loop,
and only while nothing waits. What is accepted is bounded: more is refused with 503.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..http.answers import Refusal, Response
from ..http.connection import Exchange
from ..observe.logs import Log
from ..observe.metrics import Durations, ModelMetrics
from ..protocol.codec import InferRequest, decode, encode
from ..protocol.tensors import Array
from ..settings import Settings
from .executor import Executor, Job

if TYPE_CHECKING:
    from .golden import WarmUp
    from .plain import AnyModel

Returned = TypeVar("Returned")

_LARGE = 32 * 1024
_INLINE_SECONDS = 0.0002
_INLINE_FREE_NS = 200_000
_INLINE_DEBT_NS = 50_000_000
_INLINE_WATCHED = 64


class Served:
    """A model with its counters, and whether it is quick enough to run on the loop."""

    __slots__ = ("debt_ns", "inline_size", "metrics", "model", "watched")

    def __init__(self, model: AnyModel, warm: WarmUp) -> None:
        self.model = model
        self.metrics = ModelMetrics(model.name, model.version)
        self.inline_size = warm.size if model.is_graph and warm.seconds < _INLINE_SECONDS else -1
        self.debt_ns = 0
        self.watched = 0

    def run_inline(self, run: Callable[[], None]) -> None:
        """Runs on the loop. A run that took long by the clock on the wall has the next ones timed by this thread's own
        clock, which waiting for a processor does not move, and which costs two system calls."""
        precise = self.watched > 0
        clock = time.thread_time_ns if precise else time.monotonic_ns
        started = clock()
        try:
            run()
        finally:
            spent = clock() - started
            if precise:
                self.watched -= 1
                self.ran_inline(spent)
            elif spent > _INLINE_FREE_NS:
                self.watched = _INLINE_WATCHED

    def ran_inline(self, nanoseconds: int) -> None:
        """Long runs add up, quick ones pay back: a model that is not always quick loses the loop, a machine that is
        interrupted now and then does not cost it."""
        self.debt_ns = max(0, self.debt_ns + nanoseconds - _INLINE_FREE_NS)
        if self.debt_ns > _INLINE_DEBT_NS:
            self.inline_size = -1


class Inference:
    """Accepts requests for loaded models. All methods run on the loop but those named ``work``."""

    def __init__(self, settings: Settings, log: Log, runs: Executor, codec: Executor) -> None:
        self.settings = settings
        self.log = log
        self.runs = runs
        self.codec = codec
        self.pending = 0

    def accept(self, served: Served, exchange: Exchange) -> None:
        if self.pending >= self.settings.queue:
            served.metrics.failed("REJECTED", 0)
            raise Refusal(503, "too many requests are waiting (MBUILD_QUEUE)", headers=(("Retry-After", "1"),))
        self.pending += 1
        served.metrics.pending += 1
        _Call(self, served, exchange).start()


class _Call:
    """A request under way; each stage runs, then hands over to the next."""

    __slots__ = (
        "_exchange",
        "_inference",
        "_outputs",
        "_queued",
        "_refusal",
        "_request",
        "_response",
        "_served",
        "_spent",
    )

    def __init__(self, inference: Inference, served: Served, exchange: Exchange) -> None:
        self._inference = inference
        self._served = served
        self._exchange = exchange
        self._spent = Durations()
        self._queued = 0
        self._refusal: Refusal | None = None
        self._request: InferRequest
        self._outputs: list[Array]
        self._response: Response

    def start(self) -> None:
        request, inference = self._exchange.request, self._inference
        if len(request.body) > _LARGE or "content-encoding" in request.headers:
            inference.codec.submit(Job(self._work_decode, self._decoded))
        elif inference.pending == 1 and self._served.inline_size >= 0:
            then = self._guard(self._here) or self._finish
            then()
        else:
            self._work_decode()
            self._decoded()

    def _here(self) -> Callable[[], None]:
        """Every stage at once on the loop, up to the first that may take long; what comes next."""
        spent, started = self._spent, time.monotonic_ns()
        self._decode()
        decoded = time.monotonic_ns()
        spent.compute_input = decoded - started
        if self._request.size > self._served.inline_size:
            return self._decoded
        self._served.run_inline(self._run)
        ran = time.monotonic_ns()
        spent.compute_infer = ran - decoded
        if self._encodes_slowly():
            return self._ran
        self._encode()
        spent.compute_output = time.monotonic_ns() - ran
        return self._finish

    def _work_decode(self) -> None:
        started = time.monotonic_ns()
        self._guard(self._decode)
        self._spent.compute_input = time.monotonic_ns() - started

    def _decode(self) -> None:
        request, limit = self._exchange.request, self._inference.settings.max_body
        self._request = decode(self._served.model.signature, request.headers, request.body, limit)

    def _decoded(self) -> None:
        if self._refusal is not None or self._exchange.gone:
            self._finish()
            return
        self._queued = time.monotonic_ns()
        self._inference.runs.submit(Job(self._work_run, self._ran))

    def _work_run(self) -> None:
        started = time.monotonic_ns()
        self._spent.queue = started - self._queued
        if self._exchange.gone:
            return
        if self._spent.queue > self._inference.settings.queue_timeout * 1e9:
            text = "request waited too long for an inference thread (MBUILD_QUEUE_TIMEOUT)"
            self._refusal = Refusal(503, text, "REJECTED", (("Retry-After", "1"),))
            return
        self._guard(self._run)
        self._spent.compute_infer = time.monotonic_ns() - started

    def _run(self) -> None:
        names = [wanted.tensor.graph_name for wanted in self._request.wanted]
        self._outputs = self._served.model.run(self._request.feeds, names)

    def _ran(self) -> None:
        if self._refusal is not None or self._exchange.gone:
            self._finish()
        elif self._encodes_slowly():
            self._inference.codec.submit(Job(self._work_encode, self._finish))
        else:
            self._work_encode()
            self._finish()

    def _encodes_slowly(self) -> bool:
        if "accept-encoding" in self._exchange.request.headers:
            return sum(array.nbytes for array in self._outputs) > _LARGE // 8
        for wanted, array in zip(self._request.wanted, self._outputs, strict=True):
            if array.size > _LARGE // 8 and (not wanted.binary or wanted.tensor.datatype == "BYTES"):
                return True
        return False

    def _work_encode(self) -> None:
        started = time.monotonic_ns()
        self._guard(self._encode)
        self._spent.compute_output = time.monotonic_ns() - started

    def _encode(self) -> None:
        model, headers = self._served.model, self._exchange.request.headers
        accepted = headers.get("accept-encoding", "")
        self._response = encode((model.name, model.version), self._request, self._outputs, accepted)

    def _guard(self, stage: Callable[[], Returned]) -> Returned | None:
        """Runs a stage; a mistake of ours becomes a 500 and a line in the log, never a lost request."""
        try:
            return stage()
        except Refusal as refusal:
            self._refusal = refusal
            if refusal.status >= 500:
                facts = {"user_code": refusal.trace} if refusal.trace else {}
                self._inference.log.failure(refusal.message, refusal, model=self._served.model.name, **facts)
        except MemoryError:
            self._refusal = Refusal(503, "out of memory for this request", "OTHER")
        except Exception as error:
            self._refusal = Refusal(500, "the server made a mistake with this request; its log says more", "OTHER")
            self._inference.log.failure(f"{type(error).__name__}: {error}", error, model=self._served.model.name)
        return None

    def _finish(self) -> None:
        metrics, exchange, refusal = self._served.metrics, self._exchange, self._refusal
        self._inference.pending -= 1
        metrics.pending -= 1
        self._spent.request = time.monotonic_ns() - exchange.received_ns
        if refusal is not None:
            metrics.failed(refusal.reason, self._spent.request)
            exchange.reply(refusal.response())
        elif exchange.gone:
            metrics.failed("CANCELED", self._spent.request)
        else:
            metrics.succeeded(self._spent)
            exchange.reply(self._response)
