"""What is told of each request after it was answered: a line of the access log, and its trace.

Exists only where one of the two is on. Never a query string (a key could be in it), never a header but the caller's own
identifiers. Of errors every one is logged, ten a second at most, whatever the share.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..http.answers import Response
from ..http.connection import Exchange
from ..http.heads import Request
from .logs import Log, Rarely
from .spans import parent_of

if TYPE_CHECKING:
    from .traces import Tracer

_ERRORS_EVERY_SECONDS = 0.1
_LONGEST = 200

Caller = Callable[[Request], str | None]


class Requests:
    """``caller`` knows the name of the key that came with a request."""

    def __init__(self, log: Log, share: float, tracer: Tracer | None, caller: Caller | None) -> None:
        self._log = log
        self._share = share
        self._tracer = tracer
        self._caller = caller
        self._errors = Rarely(_ERRORS_EVERY_SECONDS)

    def answered(self, exchange: Exchange, response: Response) -> None:
        """A client has its answer by now: nothing that goes wrong here may end its connection."""
        try:
            self._tell(exchange, response)
        except Exception as error:
            self._log.failure(f"{type(error).__name__}: {error}", error)

    def _tell(self, exchange: Exchange, response: Response) -> None:
        trace = ""
        path = exchange.request.target.partition("?")[0]
        if self._tracer is not None and path.endswith("/infer"):
            trace = self._tracer.answered(exchange, response.status, path[:_LONGEST])
        if not self._share:
            return
        sampled = self._share >= 1 or random.random() < self._share  # noqa: S311  a sample, not a secret
        if not sampled and (response.status < 400 or not self._errors.due()):
            return
        self._log.event("info", "request", **self._facts(exchange, response, path, trace))

    def _facts(self, exchange: Exchange, response: Response, path: str, trace: str) -> dict[str, object]:
        request, account = exchange.request, exchange.account
        facts: dict[str, object] = {
            "method": request.method,
            "target": path[:_LONGEST],
            "status": response.status,
            "request_bytes": len(exchange.body),
            "response_bytes": sum(map(len, response.body)),
            "milliseconds": round((time.monotonic_ns() - exchange.received_ns) / 1e6, 3),
            "client": exchange.connection.client,
        }
        if account is not None:
            facts |= {
                "model": account.model,
                "version": account.version,
                "queue_ms": round(account.spent.queue / 1e6, 3),
                "compute_ms": round(account.spent.compute_infer / 1e6, 3),
                "batch_rows": account.run_rows,
            }
        parent = None if trace else parent_of(request.headers)
        optional = {
            "request_id": request.headers.get("x-request-id", "") or (account.request_id if account else ""),
            "trace_id": trace or (parent.trace_id if parent else ""),
            "user_agent": request.headers.get("user-agent", ""),
            "key": self._caller(request) if self._caller is not None else None,
        }
        return facts | {name: value[:_LONGEST] for name, value in optional.items() if value}
