"""What a container tried to send, from the kernel's own counters of its network namespace (proc_pid_net(5), snmp).

The namespace has a loopback interface and no route: each attempt to reach anything else is counted as ``OutNoRoutes``
(RFC 4293, ipSystemStatsOutNoRoutes); a name lookup goes to a port 53 that nobody listens on and ends as ``NoPorts``.
"""

from __future__ import annotations

from pathlib import Path


def outbound_attempts(pid: int) -> int | None:
    """The attempts of all processes in the network namespace of ``pid``; None where it cannot be read."""
    place = Path(f"/proc/{pid}/net")
    try:
        counters = _paired((place / "snmp").read_text())
        counters |= _listed(place / "snmp6")
    except (OSError, ValueError):
        return None
    names = ("Ip.OutNoRoutes", "Udp.NoPorts", "Ip6OutNoRoutes", "Udp6NoPorts")
    return sum(counters.get(name, 0) for name in names)


def _paired(text: str) -> dict[str, int]:
    """Each protocol has a line of names and below it one of values."""
    counters: dict[str, int] = {}
    lines = [line.partition(":")[::2] for line in text.splitlines()]
    for (protocol, names), (_, values) in zip(lines[::2], lines[1::2], strict=True):
        pairs = zip(names.split(), values.split(), strict=True)
        counters |= {f"{protocol}.{name}": int(value) for name, value in pairs}
    return counters


def _listed(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
