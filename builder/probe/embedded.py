"""The embedded runner: runs an image with nothing but the kernel, as root or as an ordinary user (see
``builder.probe.sandbox``, the program that it starts)."""

from __future__ import annotations

import json
import math
import os
import random
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import astuple
from pathlib import Path
from threading import Lock
from typing import Any

import builder
from builder.errors import ToolMissing
from builder.host import Host
from builder.host.clock import Clock
from builder.host.container import PortUnavailable, Published, own_address
from builder.host.fs import atomic_write, require_room
from builder.host.gpu import HostGpu, find_gpu
from builder.host.run import Command, Process
from builder.oci.descriptor import GZIP_LAYER_TYPES, Descriptor
from builder.oci.layout import Layout
from builder.oci.unpack import stack_layers, unpack_layer
from builder.probe.account import find_account
from builder.probe.emulator import Emulator
from builder.probe.memory import peak_resident
from builder.probe.runner import Limits, ProbedImage, RunState, Unstartable
from builder.probe.sandbox.gate import HOST_NAME
from builder.probe.sandbox.keeper import KILL, RELEASE, TERMINATE
from builder.probe.scratch import Scratch, make_scratch, sweep
from builder.probe.traffic import outbound_attempts

FACTS = "facts.json"
"""Of what runs: ``{"pid" (of its keeper), "host", "port", "labels"}``."""

_START_SECONDS = 30
_LOG_BYTES = 64 << 10
_KILL_SECONDS = 5
_KILLED = 137
_LIBRARIES = f"/usr/lib/{os.uname().machine}-linux-gnu"
"""Where Debian's loader looks without being told."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Another text after each start of the kernel (its admin-guide/sysctl/kernel.rst)."""
_TICK, _LOOK_SECONDS = 0.002, 0.1


class SandboxRefused(ToolMissing):
    code = "sandbox-refused"
    message = "this machine's kernel does not let the embedded runner {step}: {reason}"
    hint = (
        "start a Docker engine, or allow user namespaces: `sysctl -w user.max_user_namespaces=15000`, on Debian "
        "`kernel.unprivileged_userns_clone=1`, on Ubuntu `kernel.apparmor_restrict_unprivileged_userns=0`"
    )


class SandboxNeedsLinux(ToolMissing):
    code = "sandbox-needs-linux"
    message = "the embedded runner needs Linux, and this is {system}"
    hint = "start a Docker engine (Docker Desktop will do); with one the image is tested in it"


class NoWayOut(ToolMissing):
    code = "no-way-out"
    message = "the embedded runner gives a container its port, and no other network"
    hint = "run it with a Docker engine where it has to open connections of its own, or leave --network away"


class EmbeddedRunner:
    """Starts images in namespaces of their own, under an emulator where they are for another processor. Compressed
    layers stay unpacked in the store for the next time. What runs lies in ``place``, of the store."""

    name = "embedded"

    def __init__(
        self, host: Host, emulator: Emulator | None = None, gpu: HostGpu | None = None, place: str = "probe"
    ) -> None:
        self._host = host
        self._emulator = emulator
        self._place = host.store.root / place
        self._gpu = gpu or find_gpu(search=host.environ.get("LD_LIBRARY_PATH", ""))

    @property
    def emulator(self) -> str:
        return self._emulator.name if self._emulator else ""

    @property
    def place(self) -> str:
        try:
            return f"{_BOOT.read_text().strip()} {self.emulator}"
        except OSError:
            return ""

    @property
    def has_gpu(self) -> bool:
        return self._gpu is not None and self._emulator is None

    def start(self, image: ProbedImage, limits: Limits) -> RunningSandbox:
        """Raises SandboxRefused, SandboxNeedsLinux, NoWayOut, PortUnavailable or Unstartable."""
        if sys.platform != "linux":
            raise SandboxNeedsLinux(system=sys.platform)
        if limits.is_connected:
            raise NoWayOut
        sweep(self._place, self._host.clock)
        with ExitStack() as stack:
            scratch = make_scratch(self._place, stack)
            sandbox = _Sandbox(self._host, scratch, stack)
            self._unpack(image, scratch.path)
            running = sandbox.run(image, limits, self._emulator, self._gpu and self._gpu.some(limits.gpus))
            running.tell(limits.labels)
            running.owns(stack.pop_all())
            return running

    def _unpack(self, image: ProbedImage, scratch: Path) -> None:
        plain = sum(layer.size for layer in image.manifest.layers if layer.media_type not in GZIP_LAYER_TYPES)
        require_room(self._host.store.root, plain, "the weights of the image that is tested")
        layers = []
        for number, layer in enumerate(image.manifest.layers):
            if layer.media_type in GZIP_LAYER_TYPES:
                layers.append(self._kept(image.layout, layer))
            else:
                directory = scratch / "layers" / str(number)
                directory.mkdir(parents=True)
                unpack_layer(image.layout, layer, directory)
                layers.append(directory)
        stack_layers(layers, scratch / "rootfs")

    def _kept(self, layout: Layout, layer: Descriptor) -> Path:
        return self._host.store.directory("layer", layer.digest.hex, lambda path: unpack_layer(layout, layer, path))


class _Sandbox:
    """The sandbox program, from before the root file system is there: it removes ``scratch`` when we die on the way."""

    def __init__(self, host: Host, scratch: Scratch, stack: ExitStack) -> None:
        self._host, self.scratch = host, scratch
        control, self.control = os.pipe()
        self.status, status = os.pipe()
        stack.callback(os.close, self.status)
        try:
            self.process = self._start(control, status)
        except BaseException:
            os.close(self.control)
            raise
        finally:
            os.close(control)
            os.close(status)
        stack.callback(self._end)

    def _start(self, control: int, status: int) -> Process:
        environ = {**os.environ, "PYTHONPATH": str(Path(builder.__file__).parent.parent)}
        held = (control, status, self.scratch.held)
        argv = (sys.executable, "-S", "-m", "builder.probe.sandbox", *map(str, held), str(self.scratch.path))
        command = Command(argv=argv, env=environ, cwd=Path("/"), pass_fds=held)
        with self.scratch.log.open("wb") as output:
            return self._host.run.start(command, output)

    def _end(self) -> None:
        """The sandbox ends everything as this pipe closes."""
        os.close(self.control)
        self.process.wait()

    def run(self, image: ProbedImage, limits: Limits, emulator: Emulator | None, gpu: HostGpu | None) -> RunningSandbox:
        account = find_account(image.user, self.scratch.path / "rootfs")
        request = {
            "argv": image.argv,
            "env": {"HOSTNAME": HOST_NAME, "HOME": account.home, **dict(image.env), **dict(limits.env)},
            "workdir": image.config.settings.get("WorkingDir") or "/",
            "uid": account.uid,
            "gid": account.gid,
            "memory_bytes": limits.memory_bytes,
            "pids": limits.pids,
            "tmp_bytes": limits.tmp_bytes,
            "port": limits.port,
            "published": astuple(limits.published or Published()),
            "processors": _processors(limits.cpus),
            "mounts": [(str(mount.source), str(mount.place)) for mount in limits.mounts],
            "devices": [str(device) for device in gpu.devices] if gpu else [],
            "libraries": [(str(library), f"{_LIBRARIES}/{name}") for name, library in gpu.libraries] if gpu else [],
            **self._emulation(emulator or Emulator(name="")),
        }
        started = self._host.clock.monotonic()
        os.write(self.control, json.dumps(request).encode() + b"\n")
        answer = self.hear(_START_SECONDS)
        if answer is None:
            reason = self.scratch.log.read_bytes()[-_LOG_BYTES:].decode(errors="replace") or "it gave no answer"
            raise SandboxRefused(step="start", reason=reason)
        facts = {"step": answer.get("step"), "reason": answer.get("reason")}
        if answer["event"] == "unrunnable":
            raise Unstartable(platform=image.config.platform, **facts)
        if answer["event"] == "unlistenable" and limits.published:
            raise PortUnavailable(host=limits.published.host, port=limits.published.port, reason=answer["reason"])
        if answer["event"] != "started":
            raise SandboxRefused(**facts)
        return RunningSandbox(self._host, self, answer, started)

    def _emulation(self, emulator: Emulator) -> dict[str, object]:
        shown = self.scratch.path / "cpuinfo"
        if emulator.cpuinfo:
            shown.write_text(emulator.cpuinfo)
        return {
            "emulator": [str(emulator.program), *emulator.arguments] if emulator.program else [],
            "cpuinfo": str(shown) if emulator.cpuinfo else "",
        }

    def order(self, order: bytes) -> None:
        """One signal for the container."""
        with suppress(BrokenPipeError):
            os.write(self.control, order)

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next line of the status pipe, or None when none comes in that time."""
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([self.status], [], [], seconds)[0]:
                return None
            piece = os.read(self.status, 1)
            if not piece:
                return None
            line += piece
        message: dict[str, Any] = json.loads(line)
        return message


class RunningSandbox:
    """See ``RunningImage``."""

    def __init__(self, host: Host, sandbox: _Sandbox, answer: dict[str, Any], started: float) -> None:
        self._clock = host.clock
        self._sandbox = sandbox
        self._pid = int(answer["pid"])
        self._released = False
        self._end: RunState | None = None
        self._hearing = Lock()
        self._kept = ExitStack()
        self.address = (own_address(answer["host"]), int(answer["port"]))
        self.memory_limit = str(answer["memory"])
        self.started = started

    def tell(self, labels: tuple[tuple[str, str], ...]) -> None:
        """Write down who this is, for those who look for it."""
        host, port = self.address
        facts = {"pid": self._sandbox.process.pid, "host": host, "port": port, "labels": dict(labels)}
        atomic_write(self._sandbox.scratch.path / FACTS, json.dumps(facts).encode())

    def owns(self, stack: ExitStack) -> None:
        """Take over what ``close`` has to undo."""
        self._kept = stack

    @property
    def id(self) -> str:
        return str(self._sandbox.process.pid)

    def log(self, lines: int = 20) -> str:
        content = self._sandbox.scratch.log.read_bytes()[-_LOG_BYTES:].decode(errors="replace")
        return "\n".join(content.splitlines()[-lines:])

    def follow(self) -> Iterator[bytes]:
        return follow_file(self._sandbox.scratch.log, lambda: self.state().running, self._clock)

    def state(self) -> RunState:
        """Of several threads that ask, one hears."""
        with self._hearing:
            if self._end is None and (said := self._sandbox.hear(0)):
                self._end = RunState(running=False, exit_code=said["code"], out_of_memory=said["out_of_memory"])
            if self._end is None and self._sandbox.process.poll() is not None:
                self._end = RunState(running=False, exit_code=_KILLED)
            return self._end or RunState(running=True)

    def peak_memory(self) -> int | None:
        return peak_resident(self._pid)

    def outbound_attempts(self) -> int | None:
        return outbound_attempts(self._pid)

    def stop(self, grace_seconds: float) -> int:
        """See ``RunningImage``; the caller measures the time."""
        for order, seconds in ((TERMINATE, grace_seconds), (KILL, _KILL_SECONDS)):
            self._sandbox.order(order)
            deadline = self._clock.monotonic() + seconds
            while self._clock.monotonic() < deadline:
                state = self.state()
                if state.exit_code is not None:
                    return state.exit_code
                self._clock.sleep(_TICK)
        return _KILLED

    def terminate(self) -> None:
        self._sandbox.order(TERMINATE)

    def kill(self) -> None:
        self._sandbox.order(KILL)

    def release(self) -> None:
        """The keeper is its owner from now on. What ``close`` would undo is let go with this process."""
        self._sandbox.order(RELEASE)
        self._released = True

    def close(self) -> None:
        if not self._released:
            self._kept.close()


def follow_file(path: Path, goes_on: Callable[[], bool], clock: Clock) -> Iterator[bytes]:
    """What is in a log, and what comes into it for as long as ``goes_on``."""
    with path.open("rb") as file:
        while True:
            more = goes_on()
            yield from iter(lambda: file.read(_LOG_BYTES), b"")
            if not more:
                return
            clock.sleep(_LOOK_SECONDS)


def _processors(cpus: float) -> list[int]:
    """Which ones it is bound to: any that this process may use. None: no bound."""
    own = sorted(os.sched_getaffinity(0))
    wanted = math.ceil(cpus)
    return random.sample(own, wanted) if 0 < wanted < len(own) else []
