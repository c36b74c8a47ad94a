"""The keeper: one request from its start to its end. It answers on the status pipe, one JSON object a line:

``{"event": "started", "pid", "host", "port", "memory"}`` then ``{"event": "exited", "code", "out_of_memory"}``; in
their place ``{"event": "refused" or "unrunnable", "step", "errno", "reason"}``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import socket
import stat
from pathlib import Path
from typing import Any

from builder.isolation.cgroup import Cgroup
from builder.isolation.kernel import Refused, guarded, hear, map_users, reraise, tell
from builder.probe.sandbox.gate import keep_gate

TERMINATE, KILL = b"t", b"k"
"""What the caller may write after the request: one byte for each signal."""

_DEATH_MILLISECONDS = 5000


def keep(control: int, status: int, scratch: Path) -> None:
    """Wait for the request on ``control``, serve it until that pipe closes, then leave nothing: the scratch directory
    (with the root file system in ``rootfs``) goes in any case."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for descriptor in (control, status):
        os.set_inheritable(descriptor, False)
    try:
        request = _read_request(control)
        if request:
            _Keeper(control, status, str(scratch / "rootfs"), request).run()
    finally:
        _remove(scratch)


def _read_request(control: int) -> dict[str, Any] | None:
    """The one line that the caller writes when the root file system is there; None when the caller has gone."""
    content = b""
    while not content.endswith(b"\n"):
        piece = os.read(control, 1 << 16)
        if not piece:
            return None
        content += piece
    request: dict[str, Any] = json.loads(content)
    return request


def _remove(scratch: Path) -> None:
    """Remove a directory, parts without write permission and all."""
    for directory, _, _ in os.walk(scratch):
        Path(directory).chmod(stat.S_IRWXU)
    shutil.rmtree(scratch, ignore_errors=True)


class _Keeper:
    def __init__(self, control: int, status: int, root: str, request: dict[str, Any]) -> None:
        self._control, self._status, self._root, self._request = control, status, root, request
        self._group = Cgroup.make(request["memory_bytes"], f"mbuild-probe-{os.getpid()}")
        request["memory"] = self._group.kind if self._group else "rlimit"

    def run(self) -> None:
        try:
            self._run()
        except Refused as refused:
            self._report(refused.to_json())
        finally:
            if self._group:
                self._group.remove()

    def _report(self, message: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._status, json.dumps(message).encode() + b"\n")

    def _run(self) -> None:
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        refusals, refuse = os.pipe()
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            gate = os.fork()
            if gate == 0:
                channel.close()
                os.close(self._control)
                os.close(self._status)
                guarded(refuse, lambda: keep_gate(self._request, self._root, theirs, listener, refuse))
            address = listener.getsockname()
        theirs.close()
        os.close(refuse)
        try:
            pid, container = self._introduce(channel, gate, refusals)
            report = {"event": "started", "pid": pid, "host": address[0], "port": address[1]}
            self._report({**report, "memory": self._request["memory"]})
            self._attend(channel, container)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(gate, signal.SIGKILL)
            os.waitpid(gate, 0)

    def _introduce(self, channel: socket.socket, gate: int, refusals: int) -> tuple[int, int]:
        """Lead the gate and the container through their start; pid and pidfd of the container once it runs."""
        self._answer(channel, refusals)
        map_users(gate, self._request["uid"], self._request["gid"])
        tell(channel, {"event": "mapped"})
        pid = int(self._answer(channel, refusals)["pid"])
        container = os.pidfd_open(pid)
        if self._group:
            self._group.add(pid)
        tell(channel, {"event": "limited"})
        _raise_refusal(refusals)
        return pid, container

    def _answer(self, channel: socket.socket, refusals: int) -> dict[str, Any]:
        message = hear(channel)
        if message is None:
            _raise_refusal(refusals)
            raise Refused("start the container", errno.ECHILD)
        return message

    def _attend(self, channel: socket.socket, container: int) -> None:
        """Pass the caller's signals on and tell of the container's end, until the caller's end of the pipe closes;
        then nothing of it runs."""
        poller = select.poll()
        poller.register(self._control, select.POLLIN | select.POLLHUP)
        poller.register(channel, select.POLLIN | select.POLLHUP)
        while True:
            ready = {descriptor for descriptor, _ in poller.poll()}
            if channel.fileno() in ready:
                self._report_end(hear(channel))
                poller.unregister(channel)
            if self._control in ready:
                order = os.read(self._control, 1)
                if not order:
                    break
                _signal(container, signal.SIGTERM if order == TERMINATE else signal.SIGKILL)
        _signal(container, signal.SIGKILL)
        ended = select.poll()
        ended.register(container, select.POLLIN)
        ended.poll(_DEATH_MILLISECONDS)

    def _report_end(self, told: dict[str, Any] | None) -> None:
        code = os.waitstatus_to_exitcode(told["status"]) if told else -signal.SIGKILL
        killed = bool(self._group and self._group.has_killed)
        code = 128 - code if code < 0 else code
        self._report({"event": "exited", "code": code, "out_of_memory": killed})


def _signal(container: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(container, number)


def _raise_refusal(refusals: int) -> None:
    """Read the pipe to its end, which the kernel closes as the image's command starts; raises what it says."""
    if content := os.read(refusals, 1 << 16):
        reraise(json.loads(content))
