"""HTTP/1.1 requests out of bytes, with no I/O (RFC 9112): where a head ends, and the body behind it."""

from __future__ import annotations

import re

from .answers import Refusal
from .heads import END, TOKEN, Heads, Request, too_large

_FIRST = frozenset([b"", b"\r", *(bytes([each]) for each in TOKEN)])
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_CHUNK_LINE = 1024

Body = bytes | bytearray
Whole = tuple[Request, Body]


class Parser:
    """Feed it what arrives and take requests until there is none; after a Refusal the connection must close.

    The requests do not depend on where the bytes were split.
    """

    def __init__(self, *, max_head: int, max_body: int, heads: Heads | None = None) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._heads = Heads(max_body) if heads is None else heads
        self._known = self._heads.known
        self._buffer: Body = b""
        self._at = 0
        self._scanned = 0
        self._request: Request | None = None
        self._body: Body = bytearray()
        self._missing = 0
        self._trailer = -1
        self.continue_wanted = False

    @property
    def buffered(self) -> int:
        """Bytes that were fed and belong to no request yet."""
        return len(self._buffer) - self._at

    @property
    def opened(self) -> Request | None:
        """The request whose body is still to come."""
        return self._request

    @property
    def begun(self) -> bool:
        """Whether bytes of a further request have come."""
        return self._request is not None or self._at < len(self._buffer)

    def feed(self, data: bytes) -> None:
        if not self._buffer:
            if self._request is not None and not self._request.chunked and len(data) <= self._missing:
                self._body += data  # of a large body: copied this once
                self._missing -= len(data)
            else:
                self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data

    def whole(self, data: bytes) -> Whole | None:
        """The request that ``data`` is, from its first byte to its last, where its head is known and nothing was fed
        before; else None, and ``data`` must be fed. ``feed`` and ``next_request`` would give the same, in several
        times the time."""
        end = data.find(END)
        request = self._known(data[:end])
        if request is None or len(data) - end != request.rest or end < 0:
            return None
        if self._request is not None or self._buffer:
            return None
        return request, data[end + 4 :]

    def next_request(self) -> Whole | None:
        """The next whole request, or None until more was fed. Raises Refusal."""
        request = self._request
        if request is None:
            if self._at >= len(self._buffer):
                return None
            head = self._take_head()
            if head is None:
                return None
            request = self._request = self._heads.read(head)
            self._missing, self.continue_wanted, self._trailer = request.length, request.expects, -1
        if not (self._take_chunks() if request.chunked else self._take_length()):
            return None
        self._request = None
        body, self._body = self._body, bytearray()
        self.continue_wanted = False
        return request, body

    def _take_head(self) -> bytes | None:
        while self._buffer.startswith(b"\r\n", self._at):  # RFC 9112 2.2: empty lines before a request
            self._advance(self._at + 2)
        if bytes(self._buffer[self._at : self._at + 1]) not in _FIRST:
            raise Refusal(400, "no HTTP request begins like this (a client that speaks TLS?)")
        end = self._buffer.find(END, max(self._at, self._scanned - 3))
        size = (len(self._buffer) - 3 if end < 0 else end) - self._at
        if size > self._max_head:
            raise Refusal(431, f"request line and headers are larger than {self._max_head} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        head = bytes(self._buffer[self._at : end])
        self._advance(end + 4)
        return head

    def _advance(self, position: int) -> None:
        """Everything before ``position`` is used; the buffer is cut when that is cheap."""
        if position >= len(self._buffer):
            self._buffer, self._at = b"", 0
        elif position > 65536 and isinstance(self._buffer, bytearray):
            del self._buffer[:position]
            self._at = 0
        else:
            self._at = position
        self._scanned = 0

    def _take_length(self) -> bool:
        if not self._missing:
            return True
        if not self._body and self.buffered >= self._missing:  # all there already, as small requests are: one copy
            self._body = self._buffer[self._at : self._at + self._missing]
            self._advance(self._at + self._missing)
            self._missing = 0
        else:
            self._take(self._missing)
        return not self._missing

    def _take(self, count: int) -> None:
        """Moves up to ``count`` bytes to the body."""
        part = self._buffer[self._at : self._at + count]
        self._body += part
        self._missing -= len(part)
        self._advance(self._at + len(part))

    def _take_chunks(self) -> bool:
        while self._trailer < 0:
            if self._missing > 2:
                self._take(self._missing - 2)
            if self._missing > 2:
                return False
            if self._missing:
                if self.buffered < 2:
                    return False
                if not self._buffer.startswith(b"\r\n", self._at):
                    raise Refusal(400, "chunk is longer than its size says")
                self._advance(self._at + 2)
                self._missing = 0
            size = self._chunk_size()
            if size is None:
                return False
            if size:
                self._missing = size + 2
            else:
                self._trailer = 0
        return self._skip_trailer()

    def _chunk_size(self) -> int | None:
        end = self._buffer.find(b"\r\n", self._at)
        if (len(self._buffer) - 1 if end < 0 else end) - self._at > _MAX_CHUNK_LINE:
            raise Refusal(400, "chunk size line is too long")
        if end < 0:
            return None
        line = _CHUNK_SIZE.fullmatch(bytes(self._buffer[self._at : end]))
        if line is None:
            raise Refusal(400, "chunk size is not a hexadecimal number")
        size = int(line[1], 16)
        if len(self._body) + size > self._max_body:
            raise too_large(self._max_body)
        self._advance(end + 2)
        return size

    def _skip_trailer(self) -> bool:
        """Trailer fields are read and dropped (RFC 9110 6.5.1 allows it)."""
        while True:
            end = self._buffer.find(b"\r\n", self._at)
            size = (len(self._buffer) - 1 if end < 0 else end) - self._at
            if self._trailer + size > self._max_head:
                raise Refusal(431, f"trailer is larger than {self._max_head} bytes")
            if end < 0:
                return False
            self._trailer += size
            self._advance(end + 2)
            if size == 0:
                return True
