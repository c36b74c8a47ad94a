"""The inventory of a model directory: which files, how large, and nothing that leads out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.oci.digest import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A regular file of the model directory: ``path`` relative to it, ``size`` in bytes."""

    path: PurePosixPath
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """A directory as it was listed once: ``files`` sorted by path."""

    directory: Path
    files: tuple[ModelFile, ...]

    def locate(self, path: PurePosixPath) -> Path:
        return self.directory / path


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """What format the directory holds, which file is the model, and what was seen that says so."""

    format: str
    entry: PurePosixPath
    evidence: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArtifact:
    """An ONNX model ready to be packed: ``files`` maps paths below the model's version directory to files here, with
    their digests; the first is the graph."""

    files: tuple[tuple[PurePosixPath, Path, Digest], ...]
    opset: int
    deterministic: bool = True

    @property
    def graph(self) -> Path:
        return self.files[0][1]
