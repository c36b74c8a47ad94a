"""The GPU side of a base image: libraries out of NVIDIA's wheels, cut into parts, and what they ask of a machine.

A part is what an image needs or does without as a whole; each becomes a layer, equal in all images that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from builder.model.face import FaceGpu
from builder.plan.prune import glob_pattern

SCHEMA = 1
"""Of ``gpu.json``, in which an image says what its GPU side is (docs/gpu.md)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryPart:
    """``files`` are globs over the members of the wheel of that name; ``why`` says what the part does. ``links`` are
    further names of libraries, as paths like theirs: what each leads to, beside it."""

    name: str
    wheel: str
    files: tuple[str, ...]
    why: str
    links: tuple[tuple[str, str], ...] = ()

    def holds(self, path: PurePosixPath) -> bool:
        """Whether a member of its wheel belongs to it."""
        return any(glob_pattern(glob).fullmatch(str(path)) for glob in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuLibraries:
    """``cuda`` is the version that the libraries are of (13.0), ``driver`` the oldest driver that carries them,
    ``runtime`` the exact pin of the onnxruntime that they are for, ``provider`` its execution provider, and ``plugin``
    the library below site-packages that has it, where that is not onnxruntime itself.

    ``capabilities`` (as in 8.6) are those for which that onnxruntime and the libraries have compiled code, with an
    ``a`` where it runs on exactly that one; ``ptx`` the one from which a driver can compile for later ones, empty where
    there is none. ``wheels`` are exact pins; ``drop`` are globs over their members with the reason why nobody gets
    them: a member that is neither in a part nor dropped is an error of the base (``mbuild base lock``). ``brought`` are
    wheels that only users can get, with the reason why.
    """

    provider: str
    runtime: str
    cuda: str
    driver: str
    capabilities: tuple[str, ...]
    ptx: str
    wheels: tuple[str, ...]
    parts: tuple[LibraryPart, ...]
    drop: Mapping[str, str]
    plugin: str = ""
    brought: Mapping[str, str] = field(default_factory=dict)

    def described(self, target: str, parts: Mapping[str, str]) -> dict[str, object]:
        """What an image with ``parts`` (name to reason) says of itself in ``gpu.json``."""
        return {
            "schema": SCHEMA,
            "target": target,
            "provider": self.provider,
            "cuda": self.cuda,
            "driver": self.driver,
            "capabilities": list(self.capabilities),
            "ptx": self.ptx,
            **({"plugin": self.plugin} if self.plugin else {}),
            "parts": dict(parts),
        }

    def face(self, parts: Sequence[str]) -> FaceGpu:
        """The same for whoever only reads an image's config."""
        return FaceGpu(
            cuda=self.cuda, driver=self.driver, capabilities=self.capabilities, ptx=self.ptx, parts=tuple(parts)
        )
