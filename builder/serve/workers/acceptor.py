"""New connections of a socket that several processes listen on: each goes to one that has fewest.

All are woken by each connection. Who has more than another looks away for a moment, but not for long: the other may be
busy, and a connection is better off with a worker that has many than with none.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

_MOMENT_SECONDS = 0.001
_MOMENTS = 3
_NO_FILES_SECONDS = 0.1
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """``others_have_fewer``: whether another worker should take the next one."""

    def __init__(
        self,
        listener: socket.socket,
        connection: Callable[[], asyncio.BaseProtocol],
        others_have_fewer: Callable[[], bool],
    ) -> None:
        self._listener = listener
        self._connection = connection
        self._others_have_fewer = others_have_fewer
        self._loop = asyncio.get_running_loop()
        self._looked_away = 0
        self._later: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """The listener too."""
        if self._later is not None:
            self._later.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    @property
    def arriving(self) -> int:
        """Accepted, and not yet a connection."""
        return len(self._tasks)

    def _accept(self) -> None:
        if self._looked_away < _MOMENTS and self._others_have_fewer():
            self._looked_away += 1
            self._pause(_MOMENT_SECONDS)
            return
        self._looked_away = 0
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _FULL:
                self._pause(_NO_FILES_SECONDS)
            return  # another worker took it, or its client gave up
        accepted.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(self._open(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, accepted: socket.socket) -> None:
        await self._loop.connect_accepted_socket(self._connection, accepted)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._later = self._loop.call_later(seconds, self._loop.add_reader, self._listener, self._accept)
