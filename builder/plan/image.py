"""``ImagePlan``: the one description of an image that both assemblers execute and the Dockerfile renders.

A plan is content-addressed and pure: two equal plans give the same image. It names files by digest, so it does not know
where they lie; whoever executes it takes a ``StagedTree`` beside it. Semantics of a field that is not set: an empty
tuple means none, and with an upstream base ``entrypoint``, ``cmd`` and ``user`` are always replaced, ``env`` and
``labels`` are added to those of the base, ours winning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from builder.canonical import content_key
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.entry import FileEntry
from builder.oci.layer_writer import Compression as Compression
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference

REVISION = 1
"""Bumped by hand when the same plan would give other bytes."""


BASE_LAYERS = "dev.mbuild.base.layers"
"""Label: how many of the lowest layers are of an upstream base, so that a reader of the image knows whose they are."""


class LayerRole(StrEnum):
    """What a layer is for; layers are stacked in this order. Weights lie below what changes more often: an engine that
    unpacks a layer unpacks all above it again."""

    BASE = "base"
    RUNTIME = "runtime"
    LIBRARIES = "libraries"
    WEIGHTS = "weights"
    SERVER = "server"
    MODEL = "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """One layer: its entries, sorted by path, and how it is stored. ``models`` are the names of those that a layer of
    models holds, ``part`` the name of the part that a layer of libraries is, ``tensors`` says what is in one of
    weights."""

    role: LayerRole
    entries: tuple[FileEntry, ...]
    compression: Compression
    models: tuple[str, ...] = ()
    part: str = ""
    tensors: str = ""

    @property
    def holds(self) -> str:
        """What of its role is in it, for people; empty where that is all of it."""
        return self.tensors or ", ".join(self.models) or self.part

    @property
    def key(self) -> str:
        """The key of everything in the plan that decides the layer's bytes."""
        entries = [entry.to_json() for entry in self.entries]
        return content_key({"entries": entries, "compression": self.compression.value, "revision": REVISION})

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Healthcheck:
    """An exec-form check; times in seconds. Until the container is healthy, or ``start_period`` is over, the check is
    every ``start_interval``: engines before 25 do not know that, wait a whole ``interval``, and refuse it in a
    Dockerfile, which is why a rendered one does not say it."""

    test: tuple[str, ...]
    interval: int = 10
    timeout: int = 3
    start_period: int = 10
    start_interval: int = 1
    retries: int = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigPatch:
    """The runtime half of an image config (image-spec config.md, ``config``). ``ports`` are TCP."""

    env: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    user: str
    workdir: str
    ports: tuple[int, ...]
    labels: tuple[tuple[str, str], ...]
    healthcheck: Healthcheck
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamBase:
    """An image that others made: its manifest by digest, its layers, and its config blob."""

    reference: PinnedReference
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[Digest, ...]
    config: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """A whole image. ``base`` is None where the base is a layer of our own; ``created`` is RFC 3339."""

    platform: Platform
    base: UpstreamBase | None
    layers: tuple[LayerPlan, ...]
    config: ConfigPatch
    created: str
    annotations: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, object]:
        """What ``mbuild plan --format json`` prints: everything that decides the image."""
        return {
            "platform": str(self.platform),
            "created": self.created,
            "base": str(self.base.reference) if self.base else None,
            "layers": [
                {
                    "role": layer.role.value,
                    "models": list(layer.models),
                    **({"part": layer.part} if layer.part else {}),
                    **({"tensors": layer.tensors} if layer.tensors else {}),
                    "compression": layer.compression.value,
                    "key": layer.key,
                    "size": layer.size,
                    "entries": [entry.to_json() for entry in layer.entries],
                }
                for layer in self.layers
            ],
            "config": {
                "env": dict(self.config.env),
                "entrypoint": list(self.config.entrypoint),
                "cmd": list(self.config.cmd),
                "user": self.config.user,
                "workdir": self.config.workdir,
                "ports": list(self.config.ports),
                "labels": dict(self.config.labels),
                "healthcheck": list(self.config.healthcheck.test),
                "stop_signal": self.config.stop_signal,
            },
            "annotations": dict(self.annotations),
        }
