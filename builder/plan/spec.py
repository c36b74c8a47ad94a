"""What the user asked for: which image (``BuildSpec``), and what is to be done with it (``Delivery``)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from builder.model.bounds import Quantize
from builder.oci.platform import Platform
from builder.oci.reference import Reference


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """How a model becomes the ONNX that is packed. ``allow_code`` lets a model that brings code of its own run it, in
    the worker's sandbox. ``bisect``: where the result is wrong, look for the node at which it departs. ``quantize``
    None: as model.yaml says; ``measure_again``: ``auto`` chooses anew, whatever the lock has. ``python`` is of an
    environment of the user's own, in which frameworks run instead of the locked one. ``capabilities`` are the GPUs that
    engines are made for, where the target has engines; None: the usual ones."""

    allow_code: bool = False
    bisect: bool = False
    quantize: Quantize | None = None
    measure_again: bool = False
    python: Path | None = None
    capabilities: tuple[str, ...] | None = None


NO_OPTIONS = ConvertOptions()


class CudaLibraries(StrEnum):
    """Which libraries a GPU image has: those that its models need, or all that its base has."""

    AUTO = "auto"
    FULL = "full"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSpec:
    """One model for one target, on one platform or on several.

    ``base`` replaces the target's own base image; ``lock`` is the lock's path; ``locked`` forbids any change to it;
    ``also`` are further platforms, whose images go into one index with that of ``platform``; ``libraries`` are those of
    a GPU image.
    """

    model: Path
    target: str
    server: str
    platform: Platform
    base: Reference | None
    lock: Path
    locked: bool
    convert: ConvertOptions = NO_OPTIONS
    libraries: CudaLibraries = CudaLibraries.AUTO
    also: tuple[Platform, ...] = ()

    @property
    def platforms(self) -> tuple[Platform, ...]:
        return (self.platform, *self.also)

    @property
    def each(self) -> tuple[BuildSpec, ...]:
        """The same for each platform alone."""
        return tuple(replace(self, platform=platform, also=()) for platform in self.platforms)


class Engine(StrEnum):
    """Which assembler executes the plan."""

    EMBEDDED = "embedded"
    DOCKER = "docker"


class Attachment(StrEnum):
    """What is attached to an image that is pushed: the same layers in other uses (builder/model/attached.py)."""

    MODELPACK = "modelpack"
    WEIGHTS_IMAGE = "weights-image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """What is to be done with the image. ``tags`` are its names, and where it is pushed; ``load`` None: into the local
    engine if there is one; ``max_size``: how many bytes its layers may have, as in 900MB; empty: any; ``force``: push
    over a version that is there; ``test_again``: also an image that passed its test here."""

    tags: tuple[Reference, ...]
    push: bool
    load: bool | None
    output: Path | None
    engine: Engine
    test: bool
    template_dir: Path | None
    max_size: str = ""
    force: bool = False
    test_again: bool = False
    attach: tuple[Attachment, ...] = ()

    @property
    def tag(self) -> Reference | None:
        """The first of them."""
        return self.tags[0] if self.tags else None


IN_THE_CACHE = Delivery(
    tags=(), push=False, load=False, output=None, engine=Engine.EMBEDDED, test=False, template_dir=None
)
"""The image in a layout of the cache, and nothing done with it."""
