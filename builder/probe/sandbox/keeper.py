"""The keeper: one request from its start to its end. It answers on the status pipe, one JSON object a line:

``{"event": "started", "pid", "host", "port", "memory"}`` then ``{"event": "exited", "code", "out_of_memory"}``; in
their place ``{"event": "refused", "unrunnable" or "unlistenable", "step", "errno", "reason"}``.
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
from builder.isolation.kernel import Refused, guarded, hear, map_users, reraise, step, tell
from builder.probe.sandbox.gate import keep_gate

TERMINATE, KILL, RELEASE = b"t", b"k", b"r"
"""What the caller may write after the request: one byte for each signal, and one to let the container go on alone."""

ENDED = "ended.json"
"""How a released container ended: ``{"code", "out_of_memory"}``."""

_DEATH_MILLISECONDS = 5000


class Unlistenable(Refused):
    """The published port cannot be had."""

    event = "unlistenable"


def keep(control: int, status: int, held: int, scratch: Path) -> None:
    """Wait for the request on ``control``, serve it until that pipe closes, then leave nothing: the scratch directory
    (with the root file system in ``rootfs``) goes, or all but the log of one that was released."""
    keeper = None
    for descriptor in (control, status, held):
        os.set_inheritable(descriptor, False)
    terminations = _catch_terminations()
    try:
        request = _read_request(control)
        if request:
            keeper = _Keeper((control, status, terminations), scratch, request)
            keeper.run()
    finally:
        released = keeper is not None and keeper.is_released
        for left in (scratch / "rootfs", scratch / "layers") if released else (scratch,):
            _remove(left)


def _catch_terminations() -> int:
    """A descriptor that is readable when a SIGTERM came."""
    heard, say = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(say)
    return heard


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
    def __init__(self, descriptors: tuple[int, int, int], scratch: Path, request: dict[str, Any]) -> None:
        self._control, self._status, self._terminations = descriptors
        self._scratch, self._request = scratch, request
        self.is_released = False
        most = request["memory_bytes"]
        self._group = Cgroup.make(most, f"mbuild-probe-{os.getpid()}") if most else None
        request["memory"] = self._group.kind if self._group else "rlimit" if most else "none"

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
        with self._listen() as listener:
            gate = os.fork()
            if gate == 0:
                channel.close()
                os.close(self._control)
                os.close(self._status)
                root = str(self._scratch / "rootfs")
                guarded(refuse, lambda: keep_gate(self._request, root, theirs, listener, refuse))
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

    def _listen(self) -> socket.socket:
        host, port, is_wish = self._request["published"]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with step(f"listen on {host}:{port}", Unlistenable):
            try:
                return socket.create_server((host, port), family=family, backlog=128)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not is_wish:
                    raise
            return socket.create_server((host, 0), family=family, backlog=128)

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
        then nothing of it runs. A released one is left to itself."""
        poller = select.poll()
        for heard in (self._control, channel.fileno(), self._terminations):
            poller.register(heard, select.POLLIN | select.POLLHUP)
        runs, heeds = True, True
        while heeds or (runs and self.is_released):
            ready = {descriptor for descriptor, _ in poller.poll()}
            if channel.fileno() in ready:
                runs = False
                self._report_end(hear(channel))
                poller.unregister(channel)
            if self._terminations in ready:
                os.read(self._terminations, 1 << 10)
                _signal(container, signal.SIGTERM)
            if self._control in ready and not self._obey_caller(container):
                heeds = False
                poller.unregister(self._control)
        _signal(container, signal.SIGKILL)
        ended = select.poll()
        ended.register(container, select.POLLIN)
        ended.poll(_DEATH_MILLISECONDS)

    def _obey_caller(self, container: int) -> bool:
        """One order; False when the caller has gone."""
        order = os.read(self._control, 1)
        self.is_released = self.is_released or order == RELEASE
        if order in (TERMINATE, KILL):
            _signal(container, signal.SIGTERM if order == TERMINATE else signal.SIGKILL)
        return bool(order)

    def _report_end(self, told: dict[str, Any] | None) -> None:
        code = os.waitstatus_to_exitcode(told["status"]) if told else -signal.SIGKILL
        killed = bool(self._group and self._group.has_killed)
        ending = {"code": 128 - code if code < 0 else code, "out_of_memory": killed}
        self._report({"event": "exited", **ending})
        if self.is_released:
            (self._scratch / ENDED).write_text(json.dumps(ending))


def _signal(container: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(container, number)


def _raise_refusal(refusals: int) -> None:
    """Read the pipe to its end, which the kernel closes as the image's command starts; raises what it says."""
    if content := os.read(refusals, 1 << 16):
        reraise(json.loads(content))
