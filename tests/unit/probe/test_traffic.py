"""The kernel's counters, read from tables as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.probe import traffic

SNMP = "Ip: Forwarding OutNoRoutes\nIp: 1 2\nUdp: InDatagrams OutDatagrams\nUdp: 9 3\n"
NETSTAT = "TcpExt: SyncookiesSent TCPSynRetrans\nTcpExt: 7 4\n"
TCP = (
    "  sl  local_address rem_address   st\n   0: 00000000:1F40 00000000:0000 0A\n   1: 0B00007F:8717 08080808:0050 02\n"
)


def test_all_signs_add_up() -> None:
    assert traffic._paired(SNMP) == {
        "Ip.Forwarding": 1,
        "Ip.OutNoRoutes": 2,
        "Udp.InDatagrams": 9,
        "Udp.OutDatagrams": 3,
    }
    assert traffic._paired(NETSTAT)["TcpExt.TCPSynRetrans"] == 4
    assert traffic._listed("Ip6OutNoRoutes  \t5\nUdp6OutDatagrams  6\n") == {"Ip6OutNoRoutes": 5, "Udp6OutDatagrams": 6}
    assert traffic._waiting(TCP) == 1
    assert traffic._waiting("") == 0


@pytest.mark.skipif(not Path("/proc/self/net/snmp").exists(), reason="needs Linux")
def test_this_kernels_own_tables_are_read() -> None:
    assert traffic.outbound_attempts(os.getpid()) is not None


def test_a_process_that_is_not_there_tells_nothing() -> None:
    assert traffic.outbound_attempts(2**22 + 1) is None
