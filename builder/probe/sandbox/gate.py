"""The gate: makes the container's namespaces, is its parent, and carries the published port into it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
from typing import Any

from builder.isolation.kernel import (
    NEW_IPC,
    NEW_NET,
    NEW_PID,
    NEW_USER,
    NEW_UTS,
    die_with_parent,
    guarded,
    obey,
    step,
    tell,
    unshare,
)
from builder.probe.sandbox.container import contain
from builder.probe.sandbox.port import Port

HOST_NAME = "probe"
_SET_INTERFACE_FLAGS, _INTERFACE_UP = 0x8914, 1


def keep_gate(
    request: dict[str, Any], root: str, channel: socket.socket, listener: socket.socket, refusals: int
) -> None:
    """Start the container, wait for its end and tell how it ended."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is meant for the container, the keeper sends there
    unshare("user, pid and network namespaces", NEW_USER | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS)
    tell(channel, {"event": "unshared"})
    obey(channel)  # until the keeper has mapped the users
    die_with_parent()
    with step("bring the loopback interface up"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        fcntl.ioctl(inside, _SET_INTERFACE_FLAGS, struct.pack("16sh22x", b"lo", _INTERFACE_UP))
    with step("set the host name"):
        socket.sethostname(HOST_NAME)
    container = os.fork()
    if container == 0:
        listener.close()
        guarded(refusals, lambda: contain(request, root, channel))
    os.close(refusals)
    tell(channel, {"event": "forked", "pid": container})
    Port(listener, ("127.0.0.1", request["port"])).carry_until(os.pidfd_open(container))
    _, status = os.waitpid(container, 0)
    tell(channel, {"event": "ended", "status": status})
