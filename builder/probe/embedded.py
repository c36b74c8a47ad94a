"""The embedded runner: runs an image with nothing but the kernel, as root or as an ordinary user (see
``builder.probe.sandbox``, the program that it starts)."""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import builder
from builder.errors import ToolMissing
from builder.host import Host
from builder.host.fs import remove_tree, require_room, temporary_directory
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
from builder.probe.sandbox.keeper import KILL, TERMINATE
from builder.probe.traffic import outbound_attempts

_START_SECONDS = 30
_LOG_BYTES = 64 << 10
_ABANDONED_SECONDS = 24 * 3600
_KILL_SECONDS = 5
_KILLED = 137
_LIBRARIES = f"/usr/lib/{os.uname().machine}-linux-gnu"
"""Where Debian's loader looks without being told."""
_TICK = 0.002


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


class EmbeddedRunner:
    """Starts images in namespaces of their own, under an emulator where they are for another processor. Compressed
    layers stay unpacked in the store for the next time."""

    name = "embedded"

    def __init__(self, host: Host, emulator: Emulator | None = None, gpu: HostGpu | None = None) -> None:
        self._host = host
        self._emulator = emulator
        self._gpu = gpu or find_gpu(search=host.environ.get("LD_LIBRARY_PATH", ""))

    @property
    def emulator(self) -> str:
        return self._emulator.name if self._emulator else ""

    @property
    def has_gpu(self) -> bool:
        return self._gpu is not None and self._emulator is None

    def start(self, image: ProbedImage, limits: Limits) -> RunningSandbox:
        """Raises SandboxRefused, SandboxNeedsLinux or Unstartable."""
        if sys.platform != "linux":
            raise SandboxNeedsLinux(system=sys.platform)
        place = self._host.store.root / "probe"
        self._sweep(place)
        with ExitStack() as stack:
            scratch = stack.enter_context(temporary_directory(place))
            sandbox = _Sandbox(self._host, scratch, stack)
            self._unpack(image, scratch)
            running = sandbox.run(image, limits, self._emulator, self._gpu if limits.gpu else None)
            running.owns(stack.pop_all())
            return running

    def _sweep(self, place: Path) -> None:
        """Remove what a caller left that was killed in the instant before the sandbox program could look after it."""
        for left in place.glob("*"):
            with suppress(OSError):
                if self._host.clock.now() - left.stat().st_mtime > _ABANDONED_SECONDS:
                    remove_tree(left)

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

    def __init__(self, host: Host, scratch: Path, stack: ExitStack) -> None:
        self._host, self._scratch = host, scratch
        self.log = scratch / "log"
        control, self.control = os.pipe()
        self.status, status = os.pipe()
        stack.callback(os.close, self.status)
        try:
            self.process = self._start(control, status, scratch)
        except BaseException:
            os.close(self.control)
            raise
        finally:
            os.close(control)
            os.close(status)
        stack.callback(self._end)

    def _start(self, control: int, status: int, scratch: Path) -> Process:
        environ = {**os.environ, "PYTHONPATH": str(Path(builder.__file__).parent.parent)}
        argv = (sys.executable, "-S", "-m", "builder.probe.sandbox", str(control), str(status), str(scratch))
        command = Command(argv=argv, env=environ, cwd=Path("/"), pass_fds=(control, status))
        with self.log.open("wb") as output:
            return self._host.run.start(command, output)

    def _end(self) -> None:
        """The sandbox ends everything as this pipe closes."""
        os.close(self.control)
        self.process.wait()

    def run(self, image: ProbedImage, limits: Limits, emulator: Emulator | None, gpu: HostGpu | None) -> RunningSandbox:
        account = find_account(image.user, self._scratch / "rootfs")
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
            "devices": [str(device) for device in gpu.devices] if gpu else [],
            "libraries": [(str(library), f"{_LIBRARIES}/{name}") for name, library in gpu.libraries] if gpu else [],
            **self._emulation(emulator or Emulator(name="")),
        }
        started = self._host.clock.monotonic()
        os.write(self.control, json.dumps(request).encode() + b"\n")
        answer = self.hear(_START_SECONDS)
        if answer is None:
            reason = self.log.read_bytes()[-_LOG_BYTES:].decode(errors="replace") or "it gave no answer"
            raise SandboxRefused(step="start", reason=reason)
        facts = {"step": answer.get("step"), "reason": answer.get("reason")}
        if answer["event"] == "unrunnable":
            raise Unstartable(platform=image.config.platform, **facts)
        if answer["event"] == "refused":
            raise SandboxRefused(**facts)
        return RunningSandbox(self._host, self, answer, started)

    def _emulation(self, emulator: Emulator) -> dict[str, object]:
        shown = self._scratch / "cpuinfo"
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
        self._end: RunState | None = None
        self._kept = ExitStack()
        self.address = (str(answer["host"]), int(answer["port"]))
        self.memory_limit = str(answer["memory"])
        self.started = started

    def owns(self, stack: ExitStack) -> None:
        """Take over what ``close`` has to undo."""
        self._kept = stack

    def log(self, lines: int = 20) -> str:
        content = self._sandbox.log.read_bytes()[-_LOG_BYTES:].decode(errors="replace")
        return "\n".join(content.splitlines()[-lines:])

    def state(self) -> RunState:
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

    def close(self) -> None:
        self._kept.close()
