"""BuildKit's traces become the lines that a person would read; a broken one is no reason to stop."""

from __future__ import annotations

import base64

import pytest

from builder.host.buildkit import trace_lines


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def trace(*fields: bytes) -> str:
    return base64.b64encode(b"".join(fields)).decode()


NAME = field(3, b"[1/2] COPY a /")


@pytest.mark.parametrize(
    ("vertex", "lines"),
    [
        (NAME + field(5, b"start"), ["[1/2] COPY a /"]),
        (NAME + field(5, b"start") + field(6, b"end"), []),
        (NAME + field(4, 1), ["[1/2] COPY a / (cached)"]),
        (NAME + field(5, b"start") + field(6, b"end") + field(7, b"no a"), ["[1/2] COPY a /: no a"]),
        (field(1, b"sha256:x"), []),
    ],
)
def test_vertexes(vertex: bytes, lines: list[str]) -> None:
    assert list(trace_lines(trace(field(1, vertex)))) == lines


def test_logs_and_unknown_fields() -> None:
    log = field(1, b"vertex") + field(3, 2) + field(4, b"one\ntwo\n")

    assert list(trace_lines(trace(field(2, b"status"), field(9, 1), field(3, log)))) == ["one", "two"]


@pytest.mark.parametrize(
    "broken", ["not base64!", base64.b64encode(b"\x0a\xff").decode(), base64.b64encode(b"\x0b").decode()]
)
def test_a_broken_trace_says_nothing(broken: str) -> None:
    assert list(trace_lines(broken)) == []
