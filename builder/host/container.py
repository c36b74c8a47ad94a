"""How a container is started, and how it is found later (see docker.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from builder.errors import ProbeError

ALL_GPUS = -1


class PortUnavailable(ProbeError):
    code = "port-unavailable"
    message = "{host}:{port} cannot be listened on: {reason}"
    hint = "name another port with --port (0: a free one), or an address of this machine with --host"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Where a container's port is to be reached: an IP address of this machine, and a port of it (0: a free one).
    ``is_wish``: a free one will do, too, where that is in use."""

    host: str = "127.0.0.1"
    port: int = 0
    is_wish: bool = False


def own_address(host: str) -> str:
    """How this machine reaches what listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not listened on


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file or a directory of this machine that the container sees, and cannot change, at ``place``."""

    source: Path
    place: PurePosixPath


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """How to start a container as production would: no capability, no new privileges, no way out to a network.

    ``image`` is an image id or reference; ``port`` the TCP port to reach; ``tmpfs`` the paths that stay writable below
    a read-only root, of ``tmpfs_bytes`` each; ``memory_bytes`` also bounds swap. An empty ``command`` or ``user``
    leaves the image's own. ``cpus`` bounds its share of the processors, 0: it has none. ``gpus`` of the machine's, or
    ALL_GPUS. ``published``: where the port is to be reached, None: where only this machine does. ``is_connected`` opens
    a way out. By ``labels`` it is found again.
    """

    image: str
    port: int
    command: tuple[str, ...] = ()
    user: str = ""
    read_only: bool = True
    memory_bytes: int | None = None
    tmpfs: tuple[str, ...] = ("/tmp",)  # noqa: S108 - a path inside the container
    tmpfs_bytes: int | None = None
    pids: int | None = None
    cpus: float = 0.0
    env: tuple[tuple[str, str], ...] = ()
    gpus: int = 0
    mounts: tuple[Mount, ...] = ()
    published: Published | None = None
    is_connected: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerState:
    """Whether it runs; else how it ended (``exit_code`` 137 with ``out_of_memory`` when the kernel killed it).
    ``is_healthy``: its health check has said so; ``is_gone``: it was removed."""

    running: bool
    exit_code: int | None
    out_of_memory: bool
    is_healthy: bool = False
    is_gone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineImage:
    """An image that an engine has: its ``digests`` are those by which registries know it."""

    id: str
    platform: str
    labels: Mapping[str, str]
    ports: tuple[int, ...]
    digests: tuple[str, ...]
