"""HTTP/1.1 requests out of bytes, with no I/O (RFC 9112). Strict where leniency is how requests are smuggled:
no bare line feeds, no folded headers, no body with two lengths, no transfer coding but chunked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .answers import Refusal

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(\d\.\d)")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIRST = frozenset([b"", b"\r", *(bytes([each]) for each in _TOKEN)])
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_MAX_CHUNK_LINE = 1024
_NO_BODY = b""


@dataclass(slots=True)
class Request:
    """A whole request. Header names are lower case; a header given twice is joined with a comma.

    ``headers`` may be shared with the next request: it is for reading only.
    """

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool
    body: bytes | bytearray = _NO_BODY
    persists: str = ""
    """What the response's Connection header says if the connection stays: HTTP/1.0 has to be told (RFC 9112 9.3)."""


class Parser:
    """Feed it what arrives and take requests until there is none; after a Refusal the connection must close.

    The requests do not depend on where the bytes were split.
    """

    def __init__(self, *, max_head: int, max_body: int) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._scanned = 0
        self._request: Request | None = None
        self._body = bytearray()
        self._missing = 0
        self._chunked = False
        self._trailer = -1
        self.continue_wanted = False
        self._last_head = b""
        self._last: Request
        self._last_body = (False, 0, False)
        self._last_size = -1

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
            if self._request is not None and not self._chunked and len(data) <= self._missing:
                self._body += data  # of a large body: copied this once
                self._missing -= len(data)
            else:
                self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data

    def repeated(self, data: bytes) -> Request | None:
        """The request in ``data``, if that is one more with the head of the last and nothing else; else None, and
        ``data`` must be fed. ``feed`` and ``next_request`` would give the same, in several times the time."""
        if len(data) != self._last_size or self._request is not None or self._buffer:
            return None
        if not data.startswith(self._last_head):
            return None
        last = self._last
        return Request(
            last.method, last.target, last.headers, last.keep_alive, data[len(self._last_head) :], last.persists
        )

    def next_request(self) -> Request | None:
        """The next whole request, or None until more was fed. Raises Refusal."""
        if self._request is None:
            if self._at >= len(self._buffer):
                return None
            if self._buffer.startswith(self._last_head, self._at) and self._last_head:
                self._advance(self._at + len(self._last_head))
                self._request = self._again()
            elif (head := self._take_head()) is None:
                return None
            else:
                self._request = self._open(head)
        if not (self._take_chunks() if self._chunked else self._take_length(self._request)):
            return None
        request, self._request = self._request, None
        if self._body:
            request.body, self._body = self._body, bytearray()
        self.continue_wanted = False
        return request

    def _take_head(self) -> bytes | None:
        while self._buffer.startswith(b"\r\n", self._at):  # RFC 9112 2.2: empty lines before a request
            self._advance(self._at + 2)
        if bytes(self._buffer[self._at : self._at + 1]) not in _FIRST:
            raise Refusal(400, "no HTTP request begins like this (a client that speaks TLS?)")
        end = self._buffer.find(b"\r\n\r\n", max(self._at, self._scanned - 3))
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

    def _again(self) -> Request:
        """A client repeats its head byte for byte while the length of its bodies stays: no need to parse it again."""
        last = self._last
        self._chunked, self._missing, self.continue_wanted = self._last_body
        self._trailer = -1
        return Request(last.method, last.target, last.headers, last.keep_alive, _NO_BODY, last.persists)

    def _open(self, head: bytes) -> Request:
        if _FORBIDDEN.search(head):
            raise Refusal(400, "request head has a control character or a bare line break")
        lines = head.split(b"\r\n")
        line = _REQUEST_LINE.fullmatch(lines[0])
        if line is None:
            raise Refusal(400, "request line is not 'METHOD TARGET HTTP/1.1'")
        method, target, version = (part.decode("ascii") for part in line.groups())
        if version not in ("1.1", "1.0"):
            raise Refusal(400, f"HTTP/{version} is not spoken here, HTTP/1.1 is")
        headers = _headers(lines[1:])
        if version == "1.1" and "host" not in headers:
            raise Refusal(400, "Host header is missing")
        connection = [option.strip() for option in headers.get("connection", "").lower().split(",")]
        keep_alive = "close" not in connection if version == "1.1" else "keep-alive" in connection
        self._expect_body(headers, version)
        persists = "keep-alive" if keep_alive and version == "1.0" else ""
        request = Request(method, _origin_form(target), headers, keep_alive, _NO_BODY, persists)
        self._last_head = head + b"\r\n\r\n"
        self._last = Request(method, request.target, headers, keep_alive, _NO_BODY, persists)
        self._last_body = (self._chunked, self._missing, self.continue_wanted)
        simple = not (self._chunked or self.continue_wanted)
        self._last_size = len(self._last_head) + self._missing if simple else -1
        return request

    def _expect_body(self, headers: dict[str, str], version: str) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        self._chunked, self._missing, self._trailer = coding is not None, 0, -1
        if coding is not None:
            if length is not None:
                raise Refusal(400, "request has both Content-Length and Transfer-Encoding")
            if coding.lower() != "chunked" or version == "1.0":
                raise Refusal(400, f"Transfer-Encoding {coding!r} is not supported, only chunked in HTTP/1.1")
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise Refusal(400, f"Content-Length {length!r} is not a number")
            if len(length) > 19 or int(length) > self._max_body:
                raise self._too_large()
            self._missing = int(length)
        expectation = headers.get("expect")
        if expectation is not None and version == "1.1":
            if expectation.lower() != "100-continue":
                raise Refusal(417, f"Expect {expectation!r} is not supported, only 100-continue")
            self.continue_wanted = bool(self._chunked or self._missing)

    def _take_length(self, request: Request) -> bool:
        if not self._missing:
            return True
        if not self._body and self.buffered >= self._missing:  # all there already, as small requests are: one copy
            request.body = self._buffer[self._at : self._at + self._missing]
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
            raise self._too_large()
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

    def _too_large(self) -> Refusal:
        return Refusal(413, f"request body is larger than {self._max_body} bytes (MBUILD_MAX_BODY)")


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw, colon, rest = line.partition(b":")
        if not colon or not raw or raw.translate(None, _TOKEN):
            raise Refusal(400, "header line is not 'Name: value'")
        name, value = raw.decode("ascii").lower(), rest.strip(b" \t").decode("latin-1")
        if name in headers:
            if name == "host":
                raise Refusal(400, "Host header is given twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _origin_form(target: str) -> str:
    """The path of a target, whichever form it came in (RFC 9112 3.2)."""
    if target.startswith("/"):
        return target
    if target.lower().startswith(("http://", "https://")):
        rest = target.split("//", 1)[1]
        return "/" + rest.partition("/")[2]
    if target == "*":
        return target
    raise Refusal(400, "request target is neither a path nor a URL")
