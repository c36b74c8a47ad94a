"""The ``health`` command for a container's HEALTHCHECK: 0 when the server on this machine says that it is ready."""

from __future__ import annotations

import socket
from collections.abc import Mapping

ANY_ADDRESS = ("", "*", "0.0.0.0", "::")  # noqa: S104  not bound to: these stand for this machine


def check(environ: Mapping[str, str]) -> int:
    """Asks /v2/health/ready; 1 for anything but 200 within three seconds. In plain HTTP also where the server speaks
    TLS: this machine is answered so, without a certificate or a key."""
    if environ.get("MBUILD_SETTINGS"):
        from .environment import SettingError, surroundings

        try:
            environ = surroundings(environ)
        except SettingError:
            return 1
    host = environ.get("MBUILD_HOST", "").strip()
    try:
        address = ("127.0.0.1" if host in ANY_ADDRESS else host, int(environ.get("MBUILD_PORT") or 8000))
        with socket.create_connection(address, timeout=3) as connection:
            connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return 0 if connection.recv(64).startswith(b"HTTP/1.1 200 ") else 1
    except (OSError, ValueError):
        return 1
