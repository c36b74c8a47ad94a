"""A server in use, from ready to its end: what it says is passed on, and it is ended as somebody asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from builder.errors import MbuildError, ProbeError
from builder.host import Host
from builder.pipeline.running.run import RunningService
from builder.probe.runner import RunState

_TICK = 0.1
_LAST_WORDS_SECONDS = 5.0


class ServerEnded(ProbeError):
    code = "server-ended"
    message = "the server ended by itself ({ending}); its last lines:\n{log}"
    hint = "the lines above are the server's own; a limit of memory that is too low also ends it (--memory)"


class NotDrained(ProbeError):
    code = "not-drained"
    message = "the server did not end within {seconds:g} s of SIGTERM and was killed; its last lines:\n{log}"
    hint = "requests in flight took longer: MBUILD_GRACE_SECONDS (--env) gives them more time"


class Attendant:
    """``asked`` tells how often somebody has asked it to end: once is SIGTERM, twice is SIGKILL."""

    def __init__(self, service: RunningService, asked: Callable[[], int], host: Host) -> None:
        self._service, self._asked, self._clock = service, asked, host.clock

    def attend(self, say: Callable[[bytes], None], stopping: Callable[[], None]) -> bool:
        """Until it has ended: whether it was let answer what it had accepted, and not killed. ``say`` gets what it
        logs, ``stopping`` is called when it begins to end. Raises ServerEnded and NotDrained."""
        listener = threading.Thread(target=_pass_on, args=(self._service.running.follow(), say), daemon=True)
        listener.start()
        seen = self._wait(lambda: self._asked() > 0)
        if seen.running:
            stopping()
            self._service.running.terminate()
            seen = self._drain()
        listener.join(_LAST_WORDS_SECONDS)
        if not self._asked() and seen.exit_code != 0:
            raise ServerEnded(ending=seen.ending, exit_code=seen.exit_code, log=self._service.running.log())
        return self._asked() <= 1

    def _drain(self) -> RunState:
        grace = self._service.limits.grace_seconds
        deadline = self._clock.monotonic() + grace
        seen = self._wait(lambda: self._asked() > 1 or self._clock.monotonic() > deadline)
        if seen.running:
            self._service.running.kill()
            seen = self._wait(lambda: False)
            if self._asked() <= 1:
                raise NotDrained(seconds=grace, log=self._service.running.log())
        return seen

    def _wait(self, enough: Callable[[], bool]) -> RunState:
        """Until it has ended, or it is enough."""
        while (seen := self._service.running.state()).running and not enough():
            self._clock.sleep(_TICK)
        return seen


def _pass_on(said: Iterator[bytes], say: Callable[[bytes], None]) -> None:
    """What follows a log ends with the container, for an engine now and then with an error."""
    with suppress(MbuildError, OSError):
        for piece in said:
            say(piece)
