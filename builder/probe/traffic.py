"""What a container tried to send, from the kernel's own counters of its network namespace (proc(5), /proc/pid/net).

Where there is no route out, each attempt counts as ``OutNoRoutes`` (RFC 4293). Where packets leave and are dropped (an
isolated network of Docker), a TCP attempt shows as a socket that waits in SYN_SENT and, after a second, as a repeated
SYN. A server answers over TCP, so any datagram, to wherever, is a name lookup or worse.
"""

from __future__ import annotations

from pathlib import Path

_COUNTERS = (
    "Ip.OutNoRoutes",
    "Ip6OutNoRoutes",
    "Udp.OutDatagrams",
    "Udp6OutDatagrams",
    "TcpExt.TCPSynRetrans",
)
_SYN_SENT = "02"


def outbound_attempts(pid: int) -> int | None:
    """Signs of attempts by any process in the network namespace of ``pid``; None where they cannot be read."""
    place = Path(f"/proc/{pid}/net")
    try:
        counters = _paired((place / "snmp").read_text()) | _paired((place / "netstat").read_text())
        counters |= _listed(_text(place / "snmp6"))
        waiting = _waiting(_text(place / "tcp")) + _waiting(_text(place / "tcp6"))
    except (OSError, ValueError):
        return None
    return sum(counters.get(name, 0) for name in _COUNTERS) + waiting


def _text(path: Path) -> str:
    """A table of a protocol; a kernel without IPv6 has none."""
    return path.read_text() if path.exists() else ""


def _paired(text: str) -> dict[str, int]:
    """Each protocol has a line of names and below it one of values."""
    counters: dict[str, int] = {}
    lines = [line.partition(":")[::2] for line in text.splitlines()]
    for (protocol, names), (_, values) in zip(lines[::2], lines[1::2], strict=True):
        pairs = zip(names.split(), values.split(), strict=True)
        counters |= {f"{protocol}.{name}": int(value) for name, value in pairs}
    return counters


def _listed(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def _waiting(text: str) -> int:
    """Sockets that have sent a SYN and wait for an answer."""
    return sum(line.split()[3] == _SYN_SENT for line in text.splitlines()[1:])
