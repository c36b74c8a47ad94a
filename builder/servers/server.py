"""What the pipeline asks of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from builder.host.trees import TreeWriter
from builder.model.engines import Engines
from builder.model.golden import GoldenCase
from builder.model.interface import Interface
from builder.model.manifest import ModelManifest
from builder.model.server_settings import ServerSettings
from builder.model.signature import Signature
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest
from builder.plan.image import ConfigPatch


def tensors_name(name: str, *, is_plain: bool) -> str:
    """Under which a model's graph itself is served: beside a plain model it has another name."""
    return f"{name}-tensors" if is_plain else name


PYTHON_ENV = (
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    # onnxruntime >= 1.29 uploads telemetry unless this is set; see docs/security.md.
    ("ORT_DISABLE_TELEMETRY", "1"),
    # numpy's BLAS is not used for inference; one thread saves 80 ms of CPU at start (measured).
    ("OPENBLAS_NUM_THREADS", "1"),
)
"""The variables of every image in which our own packages run the graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFile:
    """A file of the server itself: its path in the image, and its bytes, or where it leads as a link."""

    path: PurePosixPath
    content: bytes = b""
    mode: int = 0o644
    target: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """Something about a model and a server that the user should know."""

    message: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedPlain:
    """The plain model around the graph: its steps, the files that lie beside them (name, place, digest), its cases."""

    interface: Interface
    files: tuple[tuple[str, Path, Digest], ...]
    cases: tuple[GoldenCase, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedModel:
    """Everything about the model that a server may want to write down in the image; ``parity`` is the verdict of the
    gate (builder/schemas/parity.schema.json); ``engines`` lie beside the graph."""

    manifest: ModelManifest
    signature: Signature
    artifact: ModelArtifact
    cases: tuple[GoldenCase, ...]
    plain: PackedPlain | None = None
    parity: Mapping[str, object] = field(default_factory=dict)
    engines: Engines | None = None

    @property
    def tensors_name(self) -> str:
        return tensors_name(self.manifest.name, is_plain=self.plain is not None)


class Server(Protocol):
    """Adds its own code, each model in the layout that it reads, and the config that starts it. Pure but for the trees
    that it is handed. Each model has a tree of its own, which becomes a layer of its own."""

    name: str
    programs: tuple[PurePosixPath, ...]
    """What an image of others must have where the server is that image's own: then neither Python nor wheels are
    packed. Empty where the server is packed."""

    @property
    def form(self) -> str:
        """Servers of one form write equal trees of a model, which are kept under it."""
        ...

    def files(self) -> tuple[CodeFile, ...]:
        """The server's own files, equal for every model."""
        ...

    def check(self, model: PackedModel) -> tuple[Remark, ...]:
        """What it serves otherwise than model.yaml asks. Raises an error of its own for a model that it cannot
        serve."""
        ...

    def model_home(self, name: str) -> PurePosixPath:
        """The directory of the image below which the files of a model's artifact lie."""
        ...

    def write_model(self, tree: TreeWriter, model: PackedModel) -> None:
        """The model and what the server must know about it; chunks of its weights are not written here."""
        ...

    def config(
        self, interpreter: PurePosixPath, models: tuple[PackedModel, ...], settings: ServerSettings
    ) -> ConfigPatch:
        """How the image with ``models`` (at least one, without cases) starts, given the path of Python in it.
        ``settings`` hold for the whole process."""
        ...
