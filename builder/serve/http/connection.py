"""One client connection: bytes to requests, one request at a time to the service, responses back in order.

Owns the connection's deadlines. Pipelined requests wait in the parser; when too much waits, reading stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Protocol

from ..observe.account import Account
from ..observe.exposition import Family, counted, counter, gauge
from ..settings import Settings
from .answers import Refusal, Response, head
from .heads import Heads, Request
from .http1 import Body, Parser

_PIPELINED = 65536
_JOINED = 65536
_HELD = 8
_LINGER_SECONDS = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REFUSALS = ("400", "408", "413", "417", "431")


class Exchange:
    """A request on its way to its response. ``gone`` turns true when the client is no longer there to read it;
    ``account`` is for those who tell of it afterwards; ``is_last`` closes the connection behind it."""

    __slots__ = ("account", "body", "connection", "gone", "is_last", "received_ns", "request")

    def __init__(self, connection: Connection, request: Request, body: Body) -> None:
        self.connection = connection
        self.request = request
        self.body = body
        self.received_ns = monotonic_ns()
        self.gone = False
        self.is_last = False
        self.account: Account | None = None

    def reply(self, response: Response) -> None:
        if not self.gone:
            self.connection.reply(self, response)
        else:
            self.connection.tell(self, response)


class Expiring(Protocol):
    """A client's connection, or what will be one once its handshake is done."""

    def expire(self, now: float) -> None: ...

    def close_if_idle(self) -> None: ...


@dataclass(slots=True)
class Connections:
    """All open connections, and what they share: settings, the way to the service, heads that came before, the date of
    this second.

    ``admit`` may raise a Refusal for a request whose body is still to come, ``dress`` may add to an answer,
    ``answered`` hears of what was answered."""

    settings: Settings
    answer: Callable[[Exchange], None]
    answered: Callable[[Exchange, Response], None] | None = None
    admit: Callable[[Connection, Request], None] | None = None
    dress: Callable[[Exchange, Response], Response] | None = None
    heads: Heads = field(init=False)
    held: list[Connection] = field(default_factory=list)
    """Those that hold an answer back until this turn of the loop is over."""
    open: set[Expiring] = field(default_factory=set)
    turned_away: int = 0
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_REFUSALS, 0))
    draining: bool = False
    date: str = ""

    def __post_init__(self) -> None:
        self.heads = Heads(self.settings.max_body)

    def tick(self, now: float) -> None:
        """Called about twice a second: closes what is over its deadline."""
        self.date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        for connection in list(self.open):
            connection.expire(now)

    def hold(self, connection: Connection) -> None:
        """Answers of one turn of the loop go out together: each would wake its client, which costs as much as a tiny
        model, and the client would take the processor from the next answer. No answer waits for more than a few."""
        self.held.append(connection)
        if len(self.held) >= _HELD:
            self.write_held()
        elif len(self.held) == 1:
            asyncio.get_running_loop().call_soon(self.write_held)

    def write_held(self) -> None:
        held, self.held = self.held, []
        for connection in held:
            connection.write_held()

    def families(self) -> Iterator[Family]:
        """For /metrics."""
        yield gauge("mbuild_connections", "Open client connections", len(self.open))
        about = "Connections turned away because too many were open"
        yield counter("mbuild_connections_refused_total", about, self.turned_away)
        about = "Requests refused before they were whole (no HTTP, too large, too slow, no key), by status"
        yield counted("mbuild_requests_refused_total", about, "status", self.refused)

    def close_idle(self) -> None:
        for connection in list(self.open):
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """asyncio's view of one client."""

    secure = False

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        settings = shared.settings
        self._parser = Parser(max_head=settings.max_head, max_body=settings.max_body, heads=shared.heads)
        self._loop = asyncio.get_running_loop()
        self._idle_timeout = settings.idle_timeout
        self._transport: asyncio.Transport
        self._exchange: Exchange | None = None
        self._deadline: float | None = None
        self._stage = "idle"
        self._advancing = False
        self._paused = False
        self._held = b""
        # What else this turn of the loop has to do. It is no part of asyncio's interface: other loops may not have it.
        self._turn: Sized = getattr(self._loop, "_ready", ())

    @property
    def client(self) -> str:
        """The client's address, as IPv4 where it came by that."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]).removeprefix("::ffff:") if peer else ""

    @property
    def is_local(self) -> bool:
        """Whether the client is this machine itself."""
        mine, theirs = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        return bool(mine and theirs and mine[0] == theirs[0])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._shared.open.add(self)
        if len(self._shared.open) > self._shared.settings.max_connections:
            self._shared.turned_away += 1
            busy = Refusal(503, "too many connections (MBUILD_MAX_CONNECTIONS)", headers=(("Retry-After", "1"),))
            self._write(busy.response(), "close")
            self._linger()
        else:
            self._enter("idle", self._idle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.open.discard(self)
        self._held = b""
        if self._exchange is not None:
            self._exchange.gone = True
            self._exchange = None

    def data_received(self, data: bytes) -> None:
        if self._exchange is None and self._stage == "idle":
            whole = self._parser.whole(data)
            if whole is not None:
                self._deadline = None
                self._exchange = exchange = Exchange(self, *whole)
                self._shared.answer(exchange)
                return
        elif self._stage == "linger":
            return
        self._parser.feed(data)
        if self._exchange is None:
            self._advance()
        is_busy = self._exchange is not None or self._stage == "write"
        if is_busy and self._parser.buffered > _PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has closed, or at least its side. The two look alike until we write; we take it for gone, as
        most servers do, so that nobody waits for work that no one will read. What is written already is delivered."""
        self.write_held()
        if self._exchange is not None:
            self._exchange.gone = True
        return False

    def pause_writing(self) -> None:
        if self._stage != "linger":
            self._enter("write", self._shared.settings.write_timeout)

    def resume_writing(self) -> None:
        if self._stage == "write":
            self._enter("idle", self._idle_timeout)
            if self._exchange is None:
                self._read_on()
                self._advance()

    def reply(self, exchange: Exchange, response: Response) -> None:
        """Writes the response and takes the next request; called once for each exchange, on the loop."""
        self._exchange = None
        shared, request = self._shared, exchange.request
        if shared.dress is not None:
            response = shared.dress(exchange, response)
        stay = request.keep_alive and not (shared.draining or exchange.is_last)
        self._write(response, request.persists if stay else "close", only_head=request.method == "HEAD")
        if shared.answered is not None:
            shared.answered(exchange, response)
        if not stay:
            self._linger()
            return
        self._read_on()
        if self._stage != "idle" or self._parser.begun:
            self._advance()

    def tell(self, exchange: Exchange, response: Response) -> None:
        if self._shared.answered is not None:
            self._shared.answered(exchange, response)

    def expire(self, now: float) -> None:
        if self._exchange is not None:
            return
        if self._deadline is None:  # it was busy until a moment ago
            self._deadline = now + self._idle_timeout
        if now < self._deadline:
            return
        if self._stage in ("head", "body"):
            self._refuse(Refusal(408, f"request {self._stage} did not arrive in time"))
        elif self._stage == "idle":
            self._transport.close()
        else:
            self._transport.abort()

    def close_if_idle(self) -> None:
        if self._exchange is None and self._stage == "idle" and not self._parser.buffered:
            self.write_held()
            self._transport.close()

    def _advance(self) -> None:
        """Requests to the service until one is under way or the parser wants more bytes."""
        if self._advancing:
            return  # a reply that came at once; the loop below goes on
        self._advancing = True
        try:
            while self._exchange is None and self._stage not in ("linger", "write"):
                whole = self._parser.next_request()
                if whole is None:
                    self._wait_for_more()
                    return
                self._deadline, self._stage = None, "idle"
                self._exchange = exchange = Exchange(self, *whole)
                self._shared.answer(exchange)
        except Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._advancing = False

    def _wait_for_more(self) -> None:
        settings = self._shared.settings
        if opened := self._parser.opened:
            if self._stage != "body":
                self._enter("body", settings.body_timeout)
                if self._shared.admit is not None:
                    self._shared.admit(self, opened)
            if self._parser.continue_wanted:
                self._parser.continue_wanted = False
                self.write_held()
                self._transport.write(_CONTINUE)
        elif self._parser.buffered:
            if self._stage != "head":
                self._enter("head", settings.head_timeout)
        elif self._stage != "idle":
            self._enter("idle", self._idle_timeout)

    def _enter(self, stage: str, seconds: float) -> None:
        self._stage = stage
        self._deadline = self._loop.time() + seconds

    def _refuse(self, refusal: Refusal) -> None:
        self._shared.refused[str(refusal.status)] = self._shared.refused.get(str(refusal.status), 0) + 1
        self._write(refusal.response(), "close")
        self._linger()

    def _write(self, response: Response, closing: str, *, only_head: bool = False) -> None:
        body = response.body
        size = len(body[0]) if len(body) == 1 else sum(map(len, body))
        start = head(response, size, self._shared.date, closing)
        if size >= _JOINED and not only_head:
            self.write_held()
            # asyncio never gets rid of an empty buffer: it would try for ever, and the connection would not close
            self._transport.writelines([start, *(piece for piece in body if len(piece))])
            return
        content = start if only_head else b"".join((start, *body))
        if self._turn and not self._held:
            self._held = content
            self._shared.hold(self)
        else:  # never more than one answer is held
            content, self._held = self._held + content, b""
            self._transport.write(content)

    def write_held(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def _read_on(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _linger(self) -> None:
        """Closes our side and reads on for a moment: closing with unread bytes would reset the connection
        and could destroy the response before the client has read it (RFC 9112 9.6)."""
        self.write_held()
        self._enter("linger", _LINGER_SECONDS if not self._transport.get_write_buffer_size() else 30.0)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the client may have read it and reset the connection by now
                self._transport.write_eof()
        self._read_on()
