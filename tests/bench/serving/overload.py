"""Four times more requests than our server can take: it must refuse some, fail none, and answer the rest in time.

Requests come at a steady rate whether or not earlier ones were answered (an open loop), each on whatever connection is
free; wrk cannot do that.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.bench.serving.dialects import Request

FACTOR = 4
DEADLINE = 1.0
"""MBUILD_QUEUE_TIMEOUT of the server, seconds."""


@dataclass
class Tally:
    """What became of the requests; ``accepted`` has the seconds of each that was answered with 200."""

    accepted: list[float] = field(default_factory=list)
    refused: int = 0
    errors: int = 0

    def count(self, status: int, seconds: float) -> None:
        if status == 200:
            self.accepted.append(seconds)
        elif status == 503:
            self.refused += 1
        else:
            self.errors += 1

    def figures(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self.accepted, n=100) if len(self.accepted) > 1 else [0.0] * 99
        return {
            "accepted": len(self.accepted),
            "refused": self.refused,
            "errors": self.errors,
            "p50": cuts[49],
            "p99": cuts[98],
        }


def overload(port: int, request: Request, *, rate: float, seconds: float) -> dict[str, Any]:
    """``rate`` requests a second."""
    return asyncio.run(_Client(port, request).run(rate, seconds)).figures()


class _Client:
    def __init__(self, port: int, request: Request) -> None:
        lines = [f"POST {request.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(request.body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        self._message = "\r\n".join([*lines, "", ""]).encode() + request.body
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._tally = Tally()

    async def run(self, rate: float, seconds: float) -> Tally:
        began, sent, tasks = time.perf_counter(), 0, set()
        while (passed := time.perf_counter() - began) < seconds:
            while sent < passed * rate:
                tasks.add(asyncio.create_task(self._one()))
                sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()
        return self._tally

    async def _one(self) -> None:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(60):
                status = await self._asked()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            status = 0
        self._tally.count(status, time.perf_counter() - began)

    async def _asked(self) -> int:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head.split()[1])
