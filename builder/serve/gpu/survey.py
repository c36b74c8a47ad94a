"""Asks the driver in a child process, and makes up its mind: the GPU, the CPU where that was allowed, or no start."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from pathlib import Path
from typing import NoReturn

from ..device import Device, GpuUnusable
from ..observe.logs import Log
from ..settings import Settings
from .driver import Seen
from .image import GpuImage

_PATIENCE_SECONDS = 60.0
"""Of eight GPUs whose driver has no persistence daemon, each takes some seconds."""
_ADVICE = "see that nvidia-smi works on the machine"


class Survey:
    """Begun while no other thread runs; the answer is waited for when it is needed."""

    def __init__(self, image: GpuImage, settings: Settings, child: int, answer: int) -> None:
        self._image = image
        self._settings = settings
        self._child = child
        self._answer = answer
        self._device: Device | None = None

    @classmethod
    def begin(cls, file: Path, settings: Settings) -> Survey:
        """Raises CannotStart where ``file`` cannot be understood."""
        image = GpuImage.read(file)
        answer, into = os.pipe()
        child = os.fork()
        if not child:
            _look(into)
        os.close(into)
        return cls(image, settings, child, answer)

    def device(self, log: Log) -> Device:
        """Where models run. Raises CannotStart."""
        if self._device is None:
            try:
                self._device = self._found()
            except GpuUnusable as error:
                self._device = self.instead(error, log)
        return self._device

    def instead(self, error: GpuUnusable, log: Log) -> Device:
        """The CPU, where that was allowed; else raises ``error``."""
        if not self._settings.allow_cpu:
            raise error
        log.event("warning", f"on the CPU (MBUILD_ALLOW_CPU): {error.why}")
        self._device = Device(wanted=self._image.provider, why=error.why)
        return self._device

    def _found(self) -> Device:
        from .verdict import device_for

        return device_for(self._image, self._seen(), self._settings)

    def _seen(self) -> Seen:
        """Raises GpuUnusable where the driver hangs or crashes."""
        said, is_whole = _read(self._answer, time.monotonic() + _PATIENCE_SECONDS)
        os.close(self._answer)
        if not is_whole:
            os.kill(self._child, signal.SIGKILL)  # not waited for: what hangs in the kernel does not end
            raise GpuUnusable(f"NVIDIA's driver has not answered within {_PATIENCE_SECONDS:g} s", _ADVICE)
        _, status = os.waitpid(self._child, 0)
        if not said:
            how = os.waitstatus_to_exitcode(status)
            raise GpuUnusable(f"NVIDIA's driver crashed when it was asked for its GPUs (exit code {how})", _ADVICE)
        return Seen.from_json(json.loads(said))


def _read(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """All of it, and whether its end came in time."""
    said = b""
    while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(pipe, 65536)
        if not part:
            return said, True
        said += part
    return said, False


def _look(into: int) -> NoReturn:
    """In the child, which leaves nothing behind but its answer."""
    try:
        from .driver import look

        os.write(into, json.dumps(look().to_json()).encode())
    finally:
        os._exit(0)
