"""How a container is started, and how it is found later (see docker.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """How to start a container as production would: no capability, no new privileges, no way out to a network.

    ``image`` is an image id or reference; ``port`` the TCP port to reach; ``tmpfs`` the paths that stay writable below
    a read-only root, of ``tmpfs_bytes`` each; ``memory_bytes`` also bounds swap. An empty ``command`` or ``user``
    leaves the image's own. ``gpu``: all GPUs of the machine.
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
    env: tuple[tuple[str, str], ...] = ()
    gpu: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerState:
    """Whether it runs; else how it ended (``exit_code`` 137 with ``out_of_memory`` when the kernel killed it)."""

    running: bool
    exit_code: int | None
    out_of_memory: bool
