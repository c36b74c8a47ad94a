"""An image on one machine: a Compose file (compose-spec; Docker Compose 2), as a value.

It is started as the test of its build started it: root file system read-only, no capability, no new privilege, memory
bounded. What it is given is what a pod would be given (builder/deploy/sizing.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.deploy.documents import Document, because
from builder.deploy.served import SCRATCH, UID, Served
from builder.deploy.sizing import Sizing
from builder.errors import UsageError

LOOPBACK = "127.0.0.1"
_TMPFS = f"{SCRATCH}:rw,noexec,nosuid,nodev,size=64m"
_PIDS = 2048
_PUBLISH = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|\d{1,3}(?:\.\d{1,3}){3}):)?(\d{1,5})")
_MOST_PORT = 65535


class MalformedPublish(UsageError):
    code = "malformed-publish"
    message = "--publish is {given!r}, which is no [ADDRESS:]PORT"
    hint = "for example --publish 8000 (this machine only), or --publish 0.0.0.0:8000 (everybody who reaches it)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Where the server is reached from outside; its further ports follow the first one."""

    address: str = LOOPBACK
    port: int = 8000

    @classmethod
    def parse(cls, text: str) -> Published:
        """Raises MalformedPublish."""
        found = _PUBLISH.fullmatch(text)
        if not found or not 0 < int(found[2]) <= _MOST_PORT - 2:
            raise MalformedPublish(given=text)
        return cls(address=found[1] or LOOPBACK, port=int(found[2]))


def compose_document(
    served: Served, sizing: Sizing, published: Published, settings: Mapping[str, str] | None = None
) -> Document:
    """``settings`` are variables of the server."""
    made = service(served, sizing, published)
    if settings:
        # Compose takes $NAME for a variable of its own.
        made["environment"] = {name: value.replace("$", "$$") for name, value in settings.items()}
    return {"name": served.name, "services": {served.name: made}}


def service(served: Served, sizing: Sizing, published: Published) -> dict[str, Any]:
    memory = because(f"{sizing.memory.limit}m", sizing.memory.reason)
    stop = sizing.stop - sizing.settle  # nobody else has to hear of it first
    found: dict[str, Any] = {
        "image": str(served.image),
        "ports": [
            f"{published.address}:{published.port + offset}:{port}"
            for offset, (_, port) in enumerate(served.ports.named)
        ],
        **hardened(UID),
        "tmpfs": [_TMPFS],
        "mem_limit": memory,
        "memswap_limit": f"{sizing.memory.limit}m",
        "cpus": because(_cores(sizing.cpu), "the server takes as many threads as this allows"),
        "pids_limit": _PIDS,
        "stop_grace_period": because(f"{stop}s", f"{served.grace_seconds} s for requests in flight, and some more"),
        # The test itself, its interval and what it waits for are the image's own.
        "healthcheck": {"start_period": because(f"{sizing.start.seconds}s", sizing.start.reason)},
        "restart": "unless-stopped",
    }
    if served.face.server == "triton":
        half = f"{sizing.memory.limit // 2}m"
        found["shm_size"] = because(half, "tensors of all requests in flight pass through it")
    if served.on_gpu:
        device = {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        found["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return found


def _cores(cpu: str) -> str:
    """A Kubernetes quantity (2, 500m) as Docker takes it."""
    return f"{int(cpu.removesuffix('m')) / 1000:g}" if cpu.endswith("m") else cpu


def hardened(uid: int) -> dict[str, Any]:
    """What every service gets; logs are kept in files that turn over."""
    return {
        "user": f"{uid}:{uid}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "local"},
    }
