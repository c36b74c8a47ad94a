"""Sends spans to a collector over OTLP/HTTP, in batches, on a thread of its own.

What waits is bounded: when the collector is slow or away, spans are dropped and counted, requests never wait. Imported
only where an endpoint is set, so that a server without one opens no connection.
"""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from .. import VERSION
from .exposition import Family, counted, counter
from .logs import Log, Rarely
from .otel_settings import TraceSettings
from .otlp import as_json, as_protobuf
from .spans import Answered, Span, identifier, parent_of, span_count, spans

if TYPE_CHECKING:
    from ..http.connection import Exchange

_TRY_AGAIN = (429, 502, 503, 504)
_ATTEMPTS = 5
_LONGEST_WAIT = 30.0


class CannotSend(Exception):
    """``again``: whether it may work later; ``wait``: seconds that the collector asks for."""

    def __init__(self, reason: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again = again
        self.wait = wait


class Tracer:
    """``answered`` runs on the loop, the rest on the thread."""

    def __init__(self, settings: TraceSettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._rarely = Rarely(60)
        self._waiting: deque[Span] = deque()
        self._full = threading.Event()
        self._stopping = threading.Event()
        self._opener = _opener(settings)
        self._encode = as_json if settings.protocol == "http/json" else as_protobuf
        self.sent = 0
        self.dropped = {"queue": 0, "collector": 0}
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        """Raises RuntimeError where there can be no thread more."""
        self._thread.start()

    def families(self) -> Iterator[Family]:
        """For /metrics."""
        yield counter("mbuild_traces_spans_sent_total", "Spans that the collector has taken", self.sent)
        about = "Spans that were dropped: the queue was full, or the collector did not take them"
        yield counted("mbuild_traces_spans_dropped_total", about, "reason", self.dropped)

    def answered(self, exchange: Exchange, status: int, path: str) -> str:
        """The identifier of the request's trace, if it is sampled; its spans wait to be sent. Most requests are not
        sampled, and under load there is no room: both are found out before anything is made."""
        parent = parent_of(exchange.request.headers) if self._settings.joins else None
        trace_id = parent.trace_id if parent else identifier(16)
        if not self._settings.sampler(parent, trace_id):
            return ""
        count = span_count(exchange.account)
        if len(self._waiting) + count > self._settings.queue:
            self.dropped["queue"] += count
            return trace_id
        now = time.monotonic_ns()
        self._waiting.extend(spans(_answered(exchange, status, path, now), parent, trace_id, time.time_ns() - now))
        if len(self._waiting) >= self._settings.batch:
            self._full.set()
        return trace_id

    def close(self, seconds: float) -> None:
        """Sends what waits, for at most so long."""
        self._stopping.set()
        self._full.set()
        self._thread.join(max(0.0, seconds))

    def _run(self) -> None:
        while True:
            self._full.wait(self._settings.delay)
            last = self._stopping.is_set()
            self._full.clear()
            while self._waiting:
                count = min(self._settings.batch, len(self._waiting))
                self._send([self._waiting.popleft() for _ in range(count)])
            if last:
                return

    def _send(self, batch: list[Span]) -> None:
        content = self._encode(batch, dict(self._settings.resource), VERSION)
        for attempt in range(_ATTEMPTS):
            try:
                self._post(content)
                self.sent += len(batch)
                return
            except CannotSend as failed:
                if not failed.again or attempt == _ATTEMPTS - 1 or self._stopping.is_set():
                    self._lost(batch, str(failed))
                    return
                self._stopping.wait(min(_LONGEST_WAIT, failed.wait or 2.0**attempt))
            except Exception as error:  # a mistake of ours must not end the thread
                self._lost(batch, f"{type(error).__name__}: {error}")
                return

    def _post(self, content: bytes) -> None:
        settings = self._settings
        kind = "application/json" if settings.protocol == "http/json" else "application/x-protobuf"
        headers = {"Content-Type": kind, "User-Agent": f"mbuild-serve/{VERSION}", **dict(settings.headers)}
        if settings.gzip:
            content, headers["Content-Encoding"] = gzip.compress(content, 1), "gzip"
        request = urllib.request.Request(settings.endpoint, content, headers, method="POST")  # noqa: S310  by _endpoint
        try:
            with self._opener.open(request, timeout=settings.timeout) as response:
                response.read(65536)
        except urllib.error.HTTPError as error:
            error.close()
            asked = error.headers.get("Retry-After", "")
            wait = float(asked) if asked.isdigit() else 0.0
            raise CannotSend(f"HTTP status {error.code}", again=error.code in _TRY_AGAIN, wait=wait) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise CannotSend(
                f"{type(reason).__name__}: {reason}", again=not isinstance(reason, ssl.SSLError)
            ) from error

    def _lost(self, batch: list[Span], reason: str) -> None:
        self.dropped["collector"] += len(batch)
        if self._rarely.due():
            lost = self.dropped["collector"]
            self._log.event("warning", f"traces cannot be sent: {reason}", to=self._settings.endpoint, spans_lost=lost)


def _answered(exchange: Exchange, status: int, path: str, now_ns: int) -> Answered:
    request, connection = exchange.request, exchange.connection
    return Answered(
        method=request.method,
        path=path,
        headers=request.headers,
        secure=connection.secure,
        client=connection.client,
        status=status,
        received_ns=exchange.received_ns,
        ended_ns=now_ns,
        account=exchange.account,
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the request into a GET and take the headers, with their secrets, elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener(settings: TraceSettings) -> urllib.request.OpenerDirector:
    """Raises OSError where a file for TLS cannot be used."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if settings.endpoint.startswith("https:"):
        context = ssl.create_default_context(cafile=settings.ca or None)
        if settings.client_certificate:
            context.load_cert_chain(settings.client_certificate, settings.client_key or None)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)
