"""What is deployed: an image by its digest, with all that a deployment has to know of it. A value, whoever reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import UsageError
from builder.model.attached import WeightsVolume
from builder.model.face import Face
from builder.model.measured import Measured
from builder.model.server_settings import USUAL_SERVER
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference

UID = 10001
"""Of every image's user and group (builder/servers)."""
LIVE, READY, METRICS = "/v2/health/live", "/v2/health/ready", "/metrics"
SCRATCH = "/tmp"  # noqa: S108 - in the container
"""The one directory that the server writes to: its root may be read-only."""
MOST_NAME = 52
"""A Service's name has 63 characters at most; what belongs to it has the name and a word more."""

_NAME = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_USUAL_GRACE = math.ceil(USUAL_SERVER.grace_seconds)
_GRACE_ENV, _GRACE_FLAG = "MBUILD_GRACE_SECONDS=", "--exit-timeout-secs="


class MalformedName(UsageError):
    code = "malformed-deployment-name"
    message = "{what} is {name!r}; Kubernetes takes {most} lower-case letters, digits and - at most, a letter first"
    hint = "for example {what} {meant}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """What each port of the server is for; ``grpc`` is None where it does not speak that. The metrics of the minimal
    server are behind the same port as all else."""

    http: int
    metrics: int
    grpc: int | None = None

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """Each once, under its name in a Service (15 characters at most, RFC 6335)."""
        ports = {"http": self.http, "grpc": self.grpc, "metrics": self.metrics}
        return tuple(
            (name, port)
            for name, port in ports.items()
            if port is not None and (name != "metrics" or port != self.http)
        )

    @property
    def metrics_name(self) -> str:
        return "http" if self.metrics == self.http else "metrics"


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """``name`` is a DNS label (RFC 1035); ``image`` what is run, of several platforms the index; ``face`` and
    ``measured`` are those of the image for one platform, ``platforms`` all that there are. ``grace_seconds`` is how
    long the server lets requests in flight finish, ``model_bytes`` what models and weights have in layers. With
    ``volume`` the image is run in two parts."""

    name: str
    image: PinnedReference
    face: Face
    platforms: tuple[Platform, ...]
    grace_seconds: int
    model_bytes: int
    measured: Measured | None = None
    volume: WeightsVolume | None = None

    @property
    def runs(self) -> PinnedReference:
        """What containers are made of."""
        return self.volume.server if self.volume else self.image

    @property
    def ports(self) -> Ports:
        """Triton numbers HTTP, gRPC, metrics in rising order."""
        http, *others = self.face.ports or (8000,)
        return (
            Ports(http=http, grpc=others[0], metrics=others[1]) if len(others) > 1 else Ports(http=http, metrics=http)
        )

    @property
    def on_gpu(self) -> bool:
        return self.face.gpu is not None

    @property
    def architectures(self) -> tuple[str, ...]:
        return tuple(sorted({platform.architecture for platform in self.platforms}))


def require_name(name: str, what: str = "--name") -> str:
    """The name itself. Raises MalformedName."""
    if not _NAME.fullmatch(name) or len(name) > MOST_NAME:
        raise MalformedName(what=what, name=name, most=MOST_NAME, meant=label_of(name))
    return name


def label_of(name: str) -> str:
    """The nearest DNS label to a model's name, which may begin with a digit and have ``_`` and ``.``."""
    label = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if not label[:1].isalpha():
        label = f"model-{label}".strip("-")
    return label[:MOST_NAME].rstrip("-")


def grace_of(env: Sequence[str], entrypoint: Sequence[str], usual: int = _USUAL_GRACE) -> int:
    """Whole seconds that the server in an image lets requests finish after SIGTERM, as its variables say (ours) or its
    arguments (Triton's); ``usual`` where neither does."""
    said = [one.removeprefix(_GRACE_ENV) for one in env if one.startswith(_GRACE_ENV)]
    said += [one.removeprefix(_GRACE_FLAG) for one in entrypoint if one.startswith(_GRACE_FLAG)]
    try:
        return math.ceil(float(said[-1]))
    except (IndexError, ValueError, OverflowError):
        return usual
