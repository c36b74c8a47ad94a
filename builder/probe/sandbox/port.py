"""The published port: carries connections of a listening socket to another address, without threads, since a process
that has unshared its pid namespace can start none (clone(2), CLONE_THREAD)."""

from __future__ import annotations

import contextlib
import selectors
import socket

_CONNECT_SECONDS = 5
_PIECE = 1 << 18


class Port:
    """Connections of ``listener`` go to ``target``; one that leads nowhere is closed."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener, self._target = listener, target
        self._selector = selectors.DefaultSelector()

    def carry_until(self, ended: int) -> None:
        """Carry until the descriptor ``ended`` is readable."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(ended, selectors.EVENT_READ)
        while True:
            for key, events in self._selector.select():
                if key.fileobj == ended:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd in self._selector.get_map():  # its connection may have ended earlier in this round
                    key.data.turn(key.fileobj, events)

    def _accept(self) -> None:
        outer, _ = self._listener.accept()
        # Not socket.create_connection: resolving even a number imports a codec, and in here the interpreter's own files
        # may be out of reach.
        inner = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            inner.settimeout(_CONNECT_SECONDS)
            inner.connect(self._target)
        except OSError:
            inner.close()
            outer.close()
            return
        _Connection(outer, inner, self._selector)


class _Connection:
    """Two ends; for each, the bytes that still have to leave through it."""

    def __init__(self, outer: socket.socket, inner: socket.socket, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._other = {outer: inner, inner: outer}
        self._pending = {outer: memoryview(b""), inner: memoryview(b"")}
        self._open = {outer, inner}  # ends that may still say something
        for end in (outer, inner):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(end, selectors.EVENT_READ, self)

    def turn(self, end: socket.socket, events: int) -> None:
        """Do what ``end`` is ready for."""
        try:
            if events & selectors.EVENT_WRITE:
                self._send(end)
            if events & selectors.EVENT_READ and end in self._open:
                self._receive(end)
            self._settle()
        except OSError:
            self._close()

    def _receive(self, end: socket.socket) -> None:
        sink = self._other[end]
        piece = end.recv(_PIECE)
        if piece:
            self._pending[sink] = memoryview(piece)
            self._send(sink)
        else:
            self._open.discard(end)
            sink.shutdown(socket.SHUT_WR)

    def _send(self, end: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pending[end]:
                self._pending[end] = self._pending[end][end.send(self._pending[end]) :]

    def _settle(self) -> None:
        """Read from an end only when what it said before has left through the other."""
        if not self._open:
            self._close()
            return
        for end, sink in self._other.items():
            reads = end in self._open and not self._pending[sink]
            events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if self._pending[end] else 0)
            known = end in self._selector.get_map()
            if events and known:
                self._selector.modify(end, events, self)
            elif events:
                self._selector.register(end, events, self)
            elif known:
                self._selector.unregister(end)

    def _close(self) -> None:
        for end in self._other:
            if end in self._selector.get_map():
                self._selector.unregister(end)
            end.close()
