"""Waiting for a server, with a bound."""

from __future__ import annotations

import time

import requests


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
