"""Waiting for a server, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Until ``condition`` holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come about within {seconds} s"
        time.sleep(0.02)


def until_ready(address: str, seconds: float = 30.0) -> None:
    """Until the server at host:port says that it is ready; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if requests.get(f"http://{address}/v2/health/ready", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{address} was not ready within {seconds} s")
