"""One client connection under TLS: bytes of the wire to bytes of HTTP and back, over the connection of ``http``.

asyncio's own TLS is not used, because it cannot end its side and read on (RFC 9112 9.6 needs that, so that an answer
is not destroyed by a reset), hides how much is still to be written, and fixes the certificate once for the listener.
Who does not speak TLS here is answered in plain HTTP: with health from this machine, which is what a container's health
check asks, with one sentence otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..http.answers import Buffer
from ..http.connection import Connection, Connections

if TYPE_CHECKING:
    from .gate import Gate

_HANDSHAKE = 0x16
_PIECE = 262144
_IDLE_ON_SECONDS = 0.5


class SecureConnection(Connection):
    """HTTP within TLS."""

    secure = True

    def __init__(self, shared: Connections) -> None:
        super().__init__(shared)
        self._made = self._loop.time()

    def close_if_idle(self) -> None:
        """Its handshake may have ended just now, and the request be under way."""
        if self._loop.time() > self._made + _IDLE_ON_SECONDS:
            super().close_if_idle()


class TlsConnection(asyncio.Protocol):
    """asyncio's view of one client until the handshake is done, then the translator for ``SecureConnection``."""

    def __init__(self, gate: Gate, context: ssl.SSLContext, shared: Connections) -> None:
        self._gate = gate
        self._shared = shared
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._wire: asyncio.Transport
        self._inner: SecureConnection | None = None
        self._deadline = asyncio.get_running_loop().time() + shared.settings.head_timeout
        self._begun = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        if len(self._shared.open) >= self._shared.settings.max_connections:
            self._shared.turned_away += 1
            transport.abort()
            return
        self._shared.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.open.discard(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if data[0] != _HANDSHAKE:
                self._go_on_without(data)
                return
        if self._ended:
            return
        self._incoming.write(data)
        if self._inner is not None or self._shake_hands():
            self._read()

    def eof_received(self) -> bool:
        return self._inner.eof_received() if self._inner is not None else False

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def expire(self, now: float) -> None:
        """Only until the handshake is done, as what follows."""
        if now > self._deadline:
            self._wire.abort()

    def close_if_idle(self) -> None:
        if not self._begun:
            self._wire.close()

    def write(self, data: Buffer) -> None:
        whole = memoryview(data).cast("B")
        for start in range(0, len(whole), _PIECE):
            self._tls.write(whole[start : start + _PIECE])
            self._flush()

    def end(self) -> None:
        """Says that nothing more comes, and takes no more from the client."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(ssl.SSLError, ValueError):  # it would wait for the client to say the same
                self._tls.unwrap()
            self._flush()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            client = self._wire.get_extra_info("peername")
            self._gate.handshake_failed(error.reason.replace("_", " ").lower(), client[0] if client else "")
            self._flush()
            self._wire.close()
            return False
        self._flush()
        self._shared.open.discard(self)
        self._inner = SecureConnection(self._shared)
        self._inner.connection_made(_Transport(self, self._wire))
        return True

    def _read(self) -> None:
        pieces = []
        over = False
        while not over:
            try:
                piece = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                piece = b""
            over = not piece
            pieces.append(piece)
        self._flush()
        if self._inner is None:
            return
        if content := b"".join(pieces):
            self._inner.data_received(content)
        if over and not self._ended:  # the client has said that nothing more comes
            self._inner.eof_received()
            self.end()
            self._wire.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._wire.write(self._outgoing.read())

    def _go_on_without(self, data: bytes) -> None:
        self._shared.open.discard(self)
        plain = Connection(self._shared)
        self._wire.set_protocol(plain)
        plain.connection_made(self._wire)
        plain.data_received(data)


class _Transport(asyncio.Transport):
    """What a connection writes to: the wire's transport, but for bytes, which go through TLS."""

    def __init__(self, tls: TlsConnection, wire: asyncio.Transport) -> None:
        super().__init__()
        self._tls = tls
        self._wire = wire

    def write(self, data: Buffer) -> None:
        self._tls.write(data)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        for data in list_of_data:
            self._tls.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._tls.end()
        self._wire.write_eof()

    def close(self) -> None:
        self._tls.end()
        self._wire.close()

    def abort(self) -> None:
        self._wire.abort()

    def is_closing(self) -> bool:
        return self._wire.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._wire.get_extra_info(name, default)
