"""What accepts inference requests: the models with their counters, and the bound on what waits for them.

Runs go to the inference threads first come first served. On the loop runs a model that was measured to be tiny, while
nothing waits (inline.py), and what a lone client asks for (lone.py). What is accepted is bounded: more is refused with
503.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from ..http.answers import Refusal
from ..http.connection import Exchange
from ..observe.logs import Log
from ..observe.metrics import ModelMetrics
from ..settings import Settings
from .batching import ALONE, Batching
from .call import Call, decodes_slowly
from .executor import Executor, Job
from .inline import INLINE_FREE_NS, answer_at_once
from .lone import Asker, Brief
from .runs import Runs

if TYPE_CHECKING:
    from ..protocol.codec import InferRequest
    from ..protocol.tensors import Array
    from .golden import WarmUp
    from .plain import AnyModel

_INLINE_SECONDS = 0.0002
_INLINE_DEBT_NS = 50_000_000
_FOUND_AT_ONCE_SECONDS = 0.001

Found = tuple[Batching | None, str]
"""How requests are put together, or why they are not."""


class Served:
    """A model with its counters, how its requests are put together, and whether it is quick enough for the loop."""

    __slots__ = (
        "_inputs",
        "batching",
        "brief",
        "debt_ns",
        "find_later",
        "inline_size",
        "metrics",
        "model",
        "named",
        "watched",
        "why_alone",
    )

    def __init__(self, model: AnyModel, warm: WarmUp, batching: Batching | None, why_alone: str = "") -> None:
        self.model = model
        self.named = (model.name, model.version)
        self.batching = batching
        self.why_alone = why_alone
        """Where requests are not put together."""
        self.find_later: Callable[[], Found] | None = None
        """Where it takes a while to find out whether they can be."""
        self._inputs = [tensor.graph_name for tensor in model.signature.inputs]
        self.metrics = ModelMetrics(model.name, model.version)
        held_back = batching is not None and batching.delay_ns > 0
        is_quick = model.is_graph and warm.seconds < _INLINE_SECONDS and not held_back
        self.inline_size = warm.size if is_quick else -1
        self.debt_ns = 0
        self.brief = Brief(is_steady=model.is_graph and "BYTES" not in model.signature.datatypes.values())
        self.watched = 0
        """How many of the next runs on the loop are timed closely."""

    @property
    def batching_said(self) -> dict[str, str]:
        """How requests are put together, in words for /config and the log."""
        batching = self.batching
        if batching is None:
            return {"batching": f"off: {self.why_alone}"}
        said = {"batching": "on", "max_batch": str(batching.max_rows)}
        if batching.delay_ns:
            said["batch_delay_microseconds"] = str(batching.delay_ns // 1000)
        if batching.preferred:
            said["preferred_batch_sizes"] = ",".join(map(str, batching.preferred))
        return said

    def rows(self, request: InferRequest) -> int:
        """Rows of a batch where the model has such a thing, else 1."""
        if self.batching is None:
            return 1
        return max(1, int(request.feeds[self._inputs[0]].shape[0]))

    def group(self, request: InferRequest) -> Hashable:
        """Equal for requests that may be one run (batching.py)."""
        batching = self.batching
        if batching is None:
            return ALONE
        shapes = [request.feeds[name].shape for name in self._inputs]
        rows = shapes[0][0]
        if not 0 < rows < batching.max_rows or any(shape[0] != rows for shape in shapes):
            return ALONE
        return (self, tuple(request.form.names), *[shape[1:] for shape in shapes])

    def run_watched(self, feeds: dict[str, Array], names: list[str]) -> list[Array]:
        """Runs on the loop, timed by this thread's own clock, which waiting for a processor does not move, and which
        costs two system calls."""
        started = time.thread_time_ns()
        try:
            return self.model.run(feeds, names)
        finally:
            self.watched -= 1
            self.ran_inline(time.thread_time_ns() - started)

    def ran_inline(self, nanoseconds: int) -> None:
        """Long runs add up, quick ones pay back: a model that is not always quick loses the loop, a machine that is
        interrupted now and then does not cost it."""
        self.debt_ns = max(0, self.debt_ns + nanoseconds - INLINE_FREE_NS)
        if self.debt_ns > _INLINE_DEBT_NS:
            self.inline_size = -1


def opened(model: AnyModel, warm: WarmUp, settings: Settings) -> Served:
    """The model as it is served; finds out whether its requests can be put together, where that takes a moment or was
    asked for, else leaves it to ``Inference.settle``. Raises ModelUnusable."""
    from .batch_check import NotBatchable, find_batching, wish_for

    try:
        wish = wish_for(model, warm, settings)
    except NotBatchable as reason:
        return Served(model, warm, None, str(reason))

    def find() -> Found:
        try:
            return find_batching(model, warm.feeds, wish), ""
        except NotBatchable as reason:
            return None, str(reason)
        except Exception as error:
            return None, f"it could not be found out: {error}"

    if wish.max_rows or warm.seconds < _FOUND_AT_ONCE_SECONDS:
        return Served(model, warm, *find())
    served = Served(model, warm, None, "it is not found out yet")
    served.find_later = find
    return served


class Inference:
    """Accepts requests for loaded models. All methods run on the loop."""

    def __init__(self, settings: Settings, log: Log, runs: Runs, codec: Executor) -> None:
        self.settings = settings
        self.queue_timeout_ns = int(settings.queue_timeout * 1e9)
        self.log = log
        self.runs = runs
        self.codec = codec
        self.pending = 0
        self._checks: Executor | None = None
        self._asker = Asker()
        self.tells = False
        """Whether each exchange gets an account of what was done."""

    def accept(self, served: Served, exchange: Exchange) -> None:
        at_once = served.inline_size >= 0 and not self.pending
        if at_once and not decodes_slowly(served.model.signature, exchange.request.headers, len(exchange.body)):
            answer_at_once(self, served, exchange)
            return
        if self.pending >= self.settings.queue:
            self.runs.sweep()
        if self.pending >= self.settings.queue:
            served.metrics.failed("REJECTED", 0)
            raise Refusal(503, "too many requests are waiting (MBUILD_QUEUE)", headers=(("Retry-After", "1"),))
        self.begin(served, exchange).start()

    def may_run_here(self, served: Served, request: InferRequest, exchange: Exchange) -> bool:
        """Whether a request that was decoded stays on the loop (lone.py)."""
        is_alone = self._asker.is_alone(exchange.connection, exchange.received_ns) and self.pending == 1
        return is_alone and request.size <= served.brief.size

    def settle(self, served: Served) -> None:
        """Finds out beside the requests, and one model after the other, what would have made the start longer."""
        if served.find_later is None:
            return
        find, served.find_later = served.find_later, None
        found: list[Found] = []

        def settled() -> None:
            served.batching, served.why_alone = found[0]
            self.log.event("info", "batching", model=served.model.name, **served.batching_said)

        if self._checks is None:
            try:
                self._checks = Executor("check", 1, asyncio.get_running_loop())
            except RuntimeError as error:
                served.why_alone = f"it could not be found out: {error}"
                return
        self._checks.submit(Job(lambda: found.append(find()), settled))

    def begin(self, served: Served, exchange: Exchange) -> Call:
        self.pending += 1
        served.metrics.pending += 1
        return Call(self, served, exchange)
