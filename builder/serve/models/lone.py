"""A lone client's runs stay on the event loop: to wake a thread, and be woken by it, takes 0.3 ms, and the thread's
processor has none of the tensors at hand. That is 2 to 3 % of a small text model.

Nobody waits meanwhile: no other connection has asked for a while, and a run that was not seen to be over in a moment
goes to a thread. In that moment a health check, or a second client, is not heard.
"""

from __future__ import annotations

_MOMENT_NS = 30_000_000
"""So long nobody minds not to be heard."""
_UNSTEADY = 10
"""Moments that a run may take which was to take one, before the model is one whose inputs do not tell."""
_ALONE_NS = 200_000_000


class Asker:
    """Who asked last, and since when nobody else did."""

    __slots__ = ("_connection", "_since_ns")

    def __init__(self) -> None:
        self._connection = 0
        self._since_ns = 0

    def is_alone(self, connection: object, now_ns: int) -> bool:
        """Asked for each request that could stay on the loop."""
        if id(connection) != self._connection:
            self._connection, self._since_ns = id(connection), now_ns
        return now_ns - self._since_ns > _ALONE_NS


class Brief:
    """Which requests of a model are over in a moment, by the elements of their inputs, as far as runs have shown."""

    __slots__ = ("_is_steady", "size")

    def __init__(self, *, is_steady: bool) -> None:
        self.size = -1
        self._is_steady = is_steady

    def ran(self, size: int, nanoseconds: int) -> None:
        """A run of ``size`` elements took so long."""
        if nanoseconds > _UNSTEADY * _MOMENT_NS and size <= self.size:
            self._is_steady = False
            self.size = -1
        elif nanoseconds > _MOMENT_NS:
            self.size = min(self.size, size - 1)
        elif self._is_steady and size > self.size:
            self.size = size
