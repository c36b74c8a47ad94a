"""The listening socket: every address where none is named, and an end that resets nobody."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct

from ..settings import EVERY_ADDRESS

BACKLOG = 1024
_SO_ATTACH_FILTER = 26
_NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # the byte with TCP's flags
        (0x45, 0, 1, 0x10),  # without ACK it asks for a new connection
        (0x06, 0, 0, 0xFFFFFFFF),  # others pass
        (0x06, 0, 0, 0),  # it is dropped
    )
)


class CannotListen(Exception):
    """The message is one sentence for people."""


def listen(host: str, port: int) -> socket.socket:
    """Raises CannotListen."""
    try:
        try:
            return _listener("::" if host == EVERY_ADDRESS else host, port)
        except OSError as error:
            if host != EVERY_ADDRESS or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return _listener("0.0.0.0", port)  # noqa: S104  a machine without IPv6
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotListen(f"Cannot listen on {host} port {port} (MBUILD_HOST, MBUILD_PORT): {reason}.") from error


def _listener(host: str, port: int) -> socket.socket:
    # TCP by name: only then asyncio sets TCP_NODELAY, without which a second small answer waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":  # takes IPv4 too, whatever net.ipv6.bindv6only says
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.setblocking(False)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def stop_new_connections(listener: socket.socket) -> None:
    """Handshakes under way end well, new ones are not begun: closing a socket on which one ends would reset it.

    Whoever comes now asks again after a second, and is refused by then. Where there are no socket filters, nothing."""
    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    count = len(_NO_NEW_CONNECTIONS) // 8
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(program)))


def accept_all(listener: socket.socket) -> list[socket.socket]:
    """Connections that the kernel has made and nobody has taken yet: closing the listener would reset them."""
    accepted: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return accepted
        connection.setblocking(False)
        accepted.append(connection)
