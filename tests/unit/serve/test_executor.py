"""What threads give back to the loop is called, whatever becomes of the calls before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from builder.serve.models.executor import Returned


class Loop:
    """Calls nothing by itself."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.due.append(call)

    call_soon_threadsafe = call_soon


def test_a_call_that_fails_does_not_take_the_others_with_it() -> None:
    loop, called = Loop(), []
    returned = Returned(cast(asyncio.AbstractEventLoop, loop))

    def fails() -> None:
        raise OSError("the client is gone")

    for call in (fails, lambda: called.append(1), lambda: called.append(2)):
        assert returned.give(call)
    assert len(loop.due) == 1, "several share one wake-up"
    with pytest.raises(OSError, match="the client is gone"):
        loop.due.pop()()
    loop.due.pop()()
    assert called == [1, 2] and not loop.due
