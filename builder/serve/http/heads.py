"""What comes before a request's body, read once: clients send the same bytes again and again (RFC 9112 2 to 6).

Strict where leniency is how requests are smuggled: no bare line feeds, no folded headers, no body with two lengths, no
transfer coding but chunked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .answers import Refusal

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(\d\.\d)")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_KEPT = 256
_LONGEST = 1024
"""Bytes: a longer head is not worth its place."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body; all those with the same bytes before it share one. Header names are lower case; a
    header given twice is joined with a comma."""

    method: str
    target: str
    headers: dict[str, str]
    keep_alive: bool
    persists: str
    """What the response's Connection header says if the connection stays: HTTP/1.0 has to be told (RFC 9112 9.3)."""
    chunked: bool
    length: int
    """Bytes of the body, where it is not chunked."""
    expects: bool
    """The client waits for 100 Continue before it sends the body."""
    rest: int
    """Bytes from the end of the last header to the end of the body; -1 where they do not come at once."""


class Heads:
    """The heads that came lately, of all connections. Whoever sends another one each time pays for reading it."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._known: dict[bytes, Request] = {}
        self.known = self._known.get
        """The request of a head that was read before, else None."""

    def read(self, head: bytes) -> Request:
        """``head`` is without the empty line at its end. Raises Refusal."""
        request = self._known.get(head)
        if request is None:
            request = parsed(head, self._max_body)
            if len(head) <= _LONGEST:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[head] = request
        return request


def parsed(head: bytes, max_body: int) -> Request:
    """Raises Refusal."""
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
    chunked = "transfer-encoding" in headers
    length = _length(headers, version, max_body)
    expects = _expects(headers) and bool(chunked or length) if version == "1.1" else False
    return Request(
        method=method,
        target=_origin_form(target),
        headers=headers,
        keep_alive=keep_alive,
        persists="keep-alive" if keep_alive and version == "1.0" else "",
        chunked=chunked,
        length=length,
        expects=expects,
        rest=-1 if chunked or expects else len(END) + length,
    )


def too_large(max_body: int) -> Refusal:
    return Refusal(413, f"request body is larger than {max_body} bytes (MBUILD_MAX_BODY)")


def _length(headers: dict[str, str], version: str, max_body: int) -> int:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise Refusal(400, "request has both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked" or version == "1.0":
            raise Refusal(400, f"Transfer-Encoding {coding!r} is not supported, only chunked in HTTP/1.1")
        return 0
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()):
        raise Refusal(400, f"Content-Length {length!r} is not a number")
    if len(length) > 19 or int(length) > max_body:
        raise too_large(max_body)
    return int(length)


def _expects(headers: dict[str, str]) -> bool:
    expectation = headers.get("expect")
    if expectation is not None and expectation.lower() != "100-continue":
        raise Refusal(417, f"Expect {expectation!r} is not supported, only 100-continue")
    return expectation is not None


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw, colon, rest = line.partition(b":")
        if not colon or not raw or raw.translate(None, TOKEN):
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
