"""The launcher of one worker, from its request to its end.

Request: ``argv``, ``env``, ``workdir``, ``readable`` and ``writable`` places, ``memory_bytes``, ``processes``,
``seconds``. It says on the status descriptor, as one JSON object, how it went: ``{"event": "refused", "step",
"reason"}``, when nothing was run, else ``{"event": "ended", "status", "memory", "out_of_memory", "timed_out"}``, the
status as waitpid gives it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from builder.isolation.cgroup import Cgroup
from builder.isolation.kernel import (
    NEW_IPC,
    NEW_NET,
    NEW_PID,
    NEW_USER,
    NEW_UTS,
    Refused,
    die_with_parent,
    drop_bounding_set,
    drop_capabilities,
    guarded,
    hear,
    map_users,
    obey,
    step,
    tell,
    unshare,
)
from builder.isolation.view import narrow


def launch(status: int) -> None:
    """Serve the request on stdin."""
    os.set_inheritable(status, False)
    request = json.load(sys.stdin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    die_with_parent(signal.SIGTERM)  # SIGTERM, so that the cgroups go, too
    groups: list[Cgroup] = []
    try:
        said = _Worker(request, _limited(request, groups), groups).run()
    except Refused as refused:
        said = refused.to_json()
    finally:
        for group in groups:
            group.remove()
    os.write(status, json.dumps(said).encode())


def _limited(request: dict[str, Any], groups: list[Cgroup]) -> str:
    """Make the cgroups that we may make; what bounds the memory."""
    name = f"mbuild-worker-{os.getpid()}"
    memory = Cgroup.make(request["memory_bytes"], name, request["processes"])
    processes = Cgroup.make_for_processes(request["processes"], name)
    groups += [group for group in (memory, processes) if group]
    return memory.kind if memory else "rlimit"


class _Worker:
    def __init__(self, request: dict[str, Any], memory: str, groups: list[Cgroup]) -> None:
        self._request, self._memory, self._groups = request, memory, groups

    def run(self) -> dict[str, object]:
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        heard, say = os.pipe()
        gate = os.fork()
        if gate == 0:
            channel.close()
            guarded(say, lambda: _keep_gate(self._request, self._memory, theirs, say))
        theirs.close()
        os.close(say)
        try:
            self._introduce(channel, gate)
            content, in_time = self._listen(heard)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(gate, signal.SIGKILL)
            os.waitpid(gate, 0)
        return self._told(content, in_time)

    def _introduce(self, channel: socket.socket, gate: int) -> None:
        """Lead the gate through its start; one that has gone has said why."""
        if hear(channel) is None:
            return
        map_users(gate, os.geteuid(), os.getegid())
        for group in self._groups:
            group.add(gate)
        tell(channel, {"event": "mapped"})

    def _listen(self, heard: int) -> tuple[bytes, bool]:
        """What is said until the last process inside has gone, and whether that was in time."""
        content, deadline = b"", time.monotonic() + self._request["seconds"]
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([heard], [], [], left)[0]:
                return content, False
            piece = os.read(heard, 1 << 16)
            if not piece:
                return content, True
            content += piece

    def _told(self, content: bytes, in_time: bool) -> dict[str, object]:
        nothing = {"event": "ended", "status": int(signal.SIGKILL)}
        said = json.JSONDecoder().raw_decode(content.decode())[0] if content else nothing
        if said["event"] != "ended":
            return dict(said)
        killed = any(group.has_killed for group in self._groups[:1]) if self._memory != "rlimit" else False
        return {**said, "memory": self._memory, "out_of_memory": killed, "timed_out": not in_time}


def _keep_gate(request: dict[str, Any], memory: str, channel: socket.socket, say: int) -> None:
    unshare("user, pid and network namespaces", NEW_USER | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS)
    tell(channel, {"event": "unshared"})
    obey(channel)  # until the launcher has mapped the users and set the limits
    die_with_parent()
    with step("set the host name"):
        socket.sethostname("worker")
    keeper = os.fork()
    if keeper == 0:
        channel.close()
        guarded(say, lambda: _keep_processes(request, memory, say))
    os.close(say)
    os.waitpid(keeper, 0)


def _keep_processes(request: dict[str, Any], memory: str, say: int) -> None:
    """PID 1 inside: start the worker, bury whom it left behind, and tell how it ended. As this process ends, the kernel
    ends every other one inside."""
    die_with_parent()
    last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    narrow(request["readable"], request["writable"])
    worker = os.fork()
    if worker == 0:
        guarded(say, lambda: _become(request, memory, last_capability))
    while True:
        pid, status = os.wait()
        if pid == worker:
            break
    with contextlib.suppress(BrokenPipeError):
        os.write(say, json.dumps({"event": "ended", "status": status}).encode())


def _become(request: dict[str, Any], memory: str, last_capability: int) -> NoReturn:
    """Nothing may be imported here: the standard library may be out of reach."""
    _limit(request, memory)
    drop_bounding_set(last_capability)
    drop_capabilities()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    with step(f"run {request['argv'][0]} in {request['workdir']}"):
        os.chdir(request["workdir"])
        os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606 - the worker
    raise Refused("run the worker", errno.ENOEXEC)


def _limit(request: dict[str, Any], memory: str) -> None:
    """No core dumps; a bound on processes, which root escapes and its cgroup does not; private memory where there is no
    cgroup (getrlimit(2); never RLIMIT_AS, since frameworks reserve far more address space than they use)."""
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_NPROC: request["processes"]}
    if memory == "rlimit":
        bounds[resource.RLIMIT_DATA] = request["memory_bytes"]
    with step("set resource limits"):
        for kind, bound in bounds.items():
            _, most = resource.getrlimit(kind)
            bound = bound if most == resource.RLIM_INFINITY else min(bound, most)
            resource.setrlimit(kind, (bound, bound))
