"""What a probe asks of a runner: one image, started as production would, on a loopback port.

Both runners hold the same terms: a read-only root with a tmpfs at /tmp, the image's own user, no capability, no new
privilege, the limits that it is given, and no network but the published port, unless one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from builder.errors import ProbeError
from builder.host.container import Mount, Published
from builder.oci.config import ImageConfig
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unstartable(ProbeError):
    code = "image-cannot-start"
    message = "the image for {platform} does not start: it cannot {step}: {reason}"
    hint = "look at the entrypoint, the working directory and the platform of the image (`mbuild plan` shows them)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a container gets: ``memory_bytes`` (swap included; None: all there is), ``cpus`` (0: all), at most ``pids``
    processes, a tmpfs of ``tmp_bytes``, ``ready_seconds`` from its start until it must be ready, ``request_seconds``
    for an answer, ``grace_seconds`` from SIGTERM to its end. ``port`` is the server's own, ``env`` are variables beside
    the image's, ``gpus`` how many of the machine's it gets (or ALL_GPUS), ``mounts`` what it sees of the machine's
    files. ``published``: where the port is to be reached, None: where only a test has to reach it. ``is_connected``:
    it may open connections of its own. ``labels`` are for an engine to find it by."""

    memory_bytes: int | None = 2 << 30
    cpus: float = 0.0
    pids: int = 2048
    tmp_bytes: int = 64 << 20
    grace_seconds: float = 30.0
    ready_seconds: float = 60.0
    request_seconds: float = 120.0
    port: int = 8000
    env: tuple[tuple[str, str], ...] = ()
    gpus: int = 0
    mounts: tuple[Mount, ...] = ()
    published: Published | None = None
    is_connected: bool = False
    labels: tuple[tuple[str, str], ...] = ()


EMULATED = Limits(memory_bytes=6 << 30, grace_seconds=120.0, ready_seconds=900.0, request_seconds=1200.0)
"""Of an image that an emulator runs: its translated code takes room, and everything takes many times as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbedImage:
    """An image in a layout. ``engine_name`` is its name or id in the Docker engine, where it is loaded; the lowest
    ``base_layers`` layers were made by others, so findings in them are theirs and only warned about."""

    layout: Layout
    manifest: Manifest
    config: ImageConfig
    engine_name: str = ""
    base_layers: int = 0

    @property
    def argv(self) -> tuple[str, ...]:
        settings = self.config.settings
        return (*(settings.get("Entrypoint") or ()), *(settings.get("Cmd") or ()))

    @property
    def env(self) -> tuple[tuple[str, str], ...]:
        """The image's environment, with the PATH that engines give where it has none."""
        listed = dict(str(item).partition("=")[::2] for item in self.config.settings.get("Env") or ())
        return tuple({"PATH": _DEFAULT_PATH, **listed}.items())

    @property
    def user(self) -> str:
        return str(self.config.settings.get("User") or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """Whether the container runs; else its ``exit_code`` and whether the kernel killed it for lack of memory.
    ``is_healthy``: its own health check has said so, where the runner asks that."""

    running: bool
    exit_code: int | None = None
    out_of_memory: bool = False
    is_healthy: bool = False

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        limit = ", killed at its memory limit" if self.out_of_memory else ""
        return f"exit code {self.exit_code}{limit}"


class RunningImage(Protocol):
    """A started container. ``started`` is on the host's monotonic clock; ``memory_limit`` says what enforces it."""

    address: tuple[str, int]
    started: float
    memory_limit: str

    @property
    def id(self) -> str:
        """By which the machine or the engine knows it."""
        ...

    def log(self, lines: int = 20) -> str:
        """Its last lines of stdout and stderr."""
        ...

    def follow(self) -> Iterator[bytes]:
        """All that it says on stdout and stderr, as it says it, until it ends."""
        ...

    def state(self) -> RunState: ...

    def peak_memory(self) -> int | None:
        """The most bytes it has used so far, while it runs; None where nothing tells."""
        ...

    def outbound_attempts(self) -> int | None:
        """Signs that it tried to reach an address outside or to look a name up; None where nothing tells."""
        ...

    def stop(self, grace_seconds: float) -> int:
        """SIGTERM, and SIGKILL after the grace; the exit code (137 when it had to be killed)."""
        ...

    def terminate(self) -> None:
        """SIGTERM, and no waiting."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def release(self) -> None:
        """From now on it outlives this process; ``close`` does nothing any more."""
        ...

    def close(self) -> None:
        """Remove everything that belongs to it."""
        ...


class ImageRunner(Protocol):
    """Starts images. Raises ToolMissing where this machine cannot, Unstartable where the image is at fault.
    ``emulator`` names what stands in for the image's processor; empty where it is this machine's."""

    name: str

    @property
    def emulator(self) -> str: ...

    @property
    def place(self) -> str:
        """Where it runs them: another text once another kernel, engine or emulator does. Empty where nothing tells."""
        ...

    @property
    def has_gpu(self) -> bool:
        """Whether it can give a container a GPU."""
        ...

    def start(self, image: ProbedImage, limits: Limits) -> RunningImage: ...
