"""What the server says: a response as a value, a refusal as an exception, and JSON as bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

import orjson

Buffer = bytes | bytearray | memoryview

JSON = "application/json"
BINARY = "application/octet-stream"
_STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n" for each in HTTPStatus}
_exact = json.JSONEncoder(separators=(",", ":"))


@dataclass(slots=True)
class Response:
    """``body`` is written part by part, so that tensors are never copied together. Not frozen: one is made for each
    request, and a frozen one takes three times as long to make."""

    status: int = 200
    content_type: str = JSON
    body: tuple[Buffer, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A request that gets an error answer. ``reason`` is the label of nv_inference_request_failure; ``trace`` says in
    the log where a user's own code failed."""

    def __init__(
        self, status: int, message: str, reason: str = "OTHER", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.headers = headers
        self.trace = ""

    def response(self) -> Response:
        """Triton's error body."""
        return Response(self.status, JSON, (as_json({"error": self.message}),), self.headers)


def as_json(value: object) -> bytes:
    """NaN and infinities as Python and Triton write them; orjson writes null for them, and knows no number above 64
    bits and no half of a surrogate pair."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _exact.encode(value).encode("ascii")
    return _exact.encode(value).encode("ascii") if b"null" in text else text


def described(value: object) -> str:
    """A value that a client sent, short enough to say back."""
    if isinstance(value, str):
        return repr(value[:60]) if len(value) <= 60 else f"{value[:60]!r}..."
    if isinstance(value, list):
        plain = len(value) <= 16 and all(isinstance(item, int | float) for item in value)
        return f"[{', '.join(map(described, value))}]" if plain else f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and abs(value) > 2**64:
        return "a very large number"
    return json.dumps(value)


def json_response(value: object) -> Response:
    return Response(200, JSON, (as_json(value),))


def head(response: Response, size: int, date: str, closing: str) -> bytes:
    """Status line and headers for a body of ``size`` bytes; ``closing`` is the Connection header's value, or empty to
    say nothing."""
    lines = f"{_STATUS_LINES[response.status]}Date: {date}\r\nContent-Length: {size}\r\n"
    if response.body:
        lines += f"Content-Type: {response.content_type}\r\n"
    for name, value in response.headers:
        lines += f"{name}: {value}\r\n"
    if closing:
        lines += f"Connection: {closing}\r\n"
    return (lines + "\r\n").encode("latin-1")
