"""The parser gives the same requests however the bytes were split, and refuses whatever else comes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from builder.serve.http.answers import Refusal
from builder.serve.http.heads import Heads
from builder.serve.http.http1 import Parser

MAX_HEAD, MAX_BODY = 512, 300
TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
Outcome = tuple[list[tuple[str, str, dict[str, str], bytes]], int]


def parse(parts: Iterable[bytes]) -> Outcome:
    """The requests, and the status of the refusal that ended them (0: none)."""
    parser = Parser(max_head=MAX_HEAD, max_body=MAX_BODY)
    found: list[tuple[str, str, dict[str, str], bytes]] = []
    try:
        for part in parts:
            if part:
                parser.feed(part)
            while (whole := parser.next_request()) is not None:
                request, body = whole
                found.append((request.method, request.target, request.headers, bytes(body)))
    except Refusal as refusal:
        return found, refusal.status
    return found, 0


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[str, str, bytes]]:
    method, path, body = draw(TOKEN), "/" + draw(VALUE), draw(st.binary(max_size=120))
    lines = [f"{method} {path} HTTP/1.1", "Host: h"]
    lines += [f"X-{name}: {value}" for name, value in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=3))]
    if draw(st.booleans()):
        lines.append("Transfer-Encoding: chunked")
        sizes = draw(st.lists(st.integers(1, 50), max_size=5))
        chunks, at = b"", 0
        for size in [*sizes, len(body)]:
            part = body[at : at + size]
            at += len(part)
            if part:
                chunks += f"{len(part):X}".encode() + b"\r\n" + part + b"\r\n"
        payload = chunks + b"0\r\n" + draw(st.sampled_from([b"", b"T: x\r\n"])) + b"\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
        payload = body
    before = draw(st.sampled_from([b"", b"\r\n"]))
    return before + "\r\n".join([*lines, "", ""]).encode() + payload, (method, path, body)


@given(st.lists(requests(), max_size=4), st.lists(st.integers(0, 5000), max_size=12))
def test_requests_survive_any_split(several: list[tuple[bytes, tuple[str, str, bytes]]], cuts: list[int]) -> None:
    data = b"".join(wire for wire, _ in several)
    found, status = parse(split(data, cuts))
    assert status == 0
    assert [(method, target, body) for method, target, _, body in found] == [meant for _, meant in several]


@given(requests())
def test_byte_by_byte(one: tuple[bytes, tuple[str, str, bytes]]) -> None:
    assert parse(bytes([byte]) for byte in one[0]) == parse([one[0]])


@given(requests(), st.integers(0, 600), st.binary(max_size=3))
def test_a_request_whose_head_is_known_is_taken_whole_or_not_at_all(
    one: tuple[bytes, tuple[str, str, bytes]], at: int, damage: bytes
) -> None:
    wire = one[0]
    at %= len(wire) + 1
    parser = Parser(max_head=MAX_HEAD, max_body=MAX_BODY)
    parser.feed(wire)
    parser.next_request()
    for sent in (wire, wire[:at], wire[at:], wire + damage, wire[:at] + damage + wire[at + 1 :]):
        whole = parser.whole(sent)
        if whole is not None:
            request, body = whole
            assert parse([sent]) == ([(request.method, request.target, request.headers, bytes(body))], 0)
    parser.feed(wire[:at])
    assert not at or parser.next_request() is not None or parser.whole(wire) is None


def test_what_is_known_of_heads_is_bounded() -> None:
    heads = Heads(MAX_BODY)
    for number in range(2000):
        heads.read(b"GET /%d HTTP/1.1\r\nHost: h" % number)
    assert 0 < len(heads._known) <= 256
    heads.read(long := b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 2000)
    assert heads.known(long) is None


@given(requests(), st.integers(0, 600), st.binary(min_size=1, max_size=3), st.lists(st.integers(0, 600), max_size=6))
@settings(max_examples=400)
def test_damaged_requests_fare_alike_however_split(
    one: tuple[bytes, tuple[str, str, bytes]], at: int, damage: bytes, cuts: list[int]
) -> None:
    wire = one[0]
    at %= len(wire)
    damaged = wire[:at] + damage + wire[at + 1 :]
    whole = parse([damaged])
    assert parse(split(damaged, cuts)) == whole
    assert whole[1] in (0, 400, 413, 417, 431)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=6))
def test_noise_is_refused_or_waited_on(noise: bytes, cuts: list[int]) -> None:
    found, status = parse(split(noise + b"\r\n\r\n", cuts))
    assert status in (0, 400, 413, 431)
    assert (found, status) == parse([noise + b"\r\n\r\n"])


@given(st.integers(0, MAX_HEAD * 2))
def test_heads_up_to_the_limit(size: int) -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
    wire = head + b"y" * max(0, size - len(head)) + b"\r\n\r\n"
    expected = 0 if len(wire) - 4 <= MAX_HEAD else 431
    assert parse([wire])[1] == expected
    assert parse(bytes([byte]) for byte in wire)[1] == expected


@given(st.binary(max_size=MAX_HEAD * 2))
def test_what_cannot_become_a_request_is_refused_at_once(rest: bytes) -> None:
    client_hello = b"\x16\x03\x01"
    for start in (b"", b"\r\n"):
        assert parse([start + client_hello + rest]) == ([], 400)
        assert parse(bytes([byte]) for byte in start + client_hello + rest) == ([], 400)
