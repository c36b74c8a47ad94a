"""What clients are sent in one turn of the event loop goes out at its end, in order, and none of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from builder.serve.http.answers import Response
from builder.serve.http.connection import Connection, Connections, Exchange
from builder.serve.settings import Settings

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
Does = Callable[[list[Connection], list["Wire"]], None]


class Wire(asyncio.Transport):
    """Remembers what was written, and what became of it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.closed = ""
        self.reading = True

    @property
    def bodies(self) -> bytes:
        """Of the answers, which are of two bytes each."""
        return b"".join(answer[-2:] for part in self.parts for answer in part.split(b"HTTP/1.1")[1:])

    def write(self, data: Any) -> None:
        assert not self.closed
        self.parts.append(bytes(data))

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def close(self) -> None:
        self.closed = "closed"

    def write_eof(self) -> None:
        self.closed = "ended"

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return bool(self.closed)

    def get_write_buffer_size(self) -> int:
        return 0


def echo(exchange: Exchange) -> None:
    exchange.reply(Response(body=(bytes(exchange.body),)))


def turns(clients: int, *steps: Does) -> list[Wire]:
    """Every step is a callback of one and the same turn; a few more follow."""

    async def run() -> list[Wire]:
        shared = Connections(Settings(max_body=1000), echo)
        wires = [Wire() for _ in range(clients)]
        connections = [Connection(shared) for _ in wires]
        for connection, wire in zip(connections, wires, strict=True):
            connection.connection_made(wire)
        for step in steps:
            asyncio.get_running_loop().call_soon(step, connections, wires)
        for _ in range(3):
            await asyncio.sleep(0)
        return wires

    return asyncio.run(run())


def asks(number: int, content: bytes) -> Does:
    return lambda connections, _: connections[number].data_received(content)


def sent(number: int, expected: bytes) -> Does:
    def check(_: list[Connection], wires: list[Wire]) -> None:
        assert wires[number].bodies == expected

    return check


def test_answers_of_one_turn_are_written_at_its_end() -> None:
    wires = turns(2, asks(0, REQUEST + b"aa"), sent(0, b""), asks(1, REQUEST + b"bb"), sent(1, b""))
    assert [wire.bodies for wire in wires] == [b"aa", b"bb"]


def test_an_answer_alone_is_not_held_back() -> None:
    async def run() -> bytes:
        connection, wire, came = Connection(Connections(Settings(max_body=1000), echo)), Wire(), asyncio.Event()
        connection.connection_made(wire)
        at_once: list[bytes] = []

        def alone() -> None:
            connection.data_received(REQUEST + b"aa")
            at_once.append(wire.bodies)
            came.set()

        asyncio.get_running_loop().call_soon(alone)
        await came.wait()
        return at_once[0]

    assert asyncio.run(run()) == b"aa"


def test_pipelined_answers_keep_their_order() -> None:
    wires = turns(1, asks(0, REQUEST + b"aa" + REQUEST + b"bb" + REQUEST + b"cc"), lambda *_: None)
    assert wires[0].bodies == b"aabbcc"


def test_no_more_than_a_few_wait() -> None:
    def few(_: list[Connection], wires: list[Wire]) -> None:
        assert [bool(wire.parts) for wire in wires] == [True] * 8 + [False] * 4

    wires = turns(12, *(asks(number, REQUEST + b"aa") for number in range(12)), few)
    assert all(wire.bodies == b"aa" for wire in wires)


@pytest.mark.parametrize(
    ("then", "how"),
    [
        (lambda connections, _: connections[0].close_if_idle(), "closed"),
        (lambda connections, _: connections[0].eof_received(), ""),
        (asks(0, REQUEST[:-2] + b"Connection: close\r\n\r\n" + b"bb"), "ended"),
        (asks(0, b"nonsense\x00\r\n\r\n"), "ended"),
    ],
    ids=["closed by us", "closed by the client", "the last request", "no request"],
)
def test_what_is_held_goes_out_before_the_end(then: Does, how: str) -> None:
    (wire,) = turns(1, asks(0, REQUEST + b"aa"), then, lambda *_: None)
    assert wire.bodies.startswith(b"aa")
    assert wire.closed == how


def test_who_has_gone_is_sent_nothing() -> None:
    (wire,) = turns(1, asks(0, REQUEST + b"aa"), lambda connections, _: connections[0].connection_lost(None))
    assert not wire.parts


def test_who_sends_and_does_not_read_is_not_read_on() -> None:
    pipelined = (REQUEST + b"aa") * 1000

    def flood(connections: list[Connection], wires: list[Wire]) -> None:
        connection, wire = connections[0], wires[0]
        connection.pause_writing()
        for _ in range(100):
            if wire.reading:
                connection.data_received(pipelined)
        assert not wire.reading and len(pipelined) < connection._parser.buffered < 200_000
        connection.resume_writing()
        assert wire.reading and not connection._parser.begun

    (wire,) = turns(1, asks(0, REQUEST + b"bb"), flood, lambda *_: None)
    assert wire.bodies[:2] == b"bb" and set(wire.bodies[2:]) == set(b"a")
    assert len(wire.bodies) % 2000 == 2
