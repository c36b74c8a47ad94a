"""What an assembler is, and what it gives: an image in an OCI layout, validated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from builder.host.trees import StagedTree
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.plan.image import ImagePlan, LayerRole


@dataclass(frozen=True, kw_only=True, slots=True)
class AssembledLayer:
    """One layer of an image: its stored bytes, the digest of its tar, what it is for, and of a layer of libraries
    which part it is."""

    descriptor: Descriptor
    diff_id: Digest
    role: LayerRole
    part: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.role.value} {self.part}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class AssembledImage:
    """An image that lies whole and validated in the layout at ``path``."""

    path: Path
    manifest: Manifest
    config: ImageConfig
    layers: tuple[AssembledLayer, ...]

    @property
    def layout(self) -> Layout:
        return Layout(self.path)

    @property
    def digest(self) -> Digest:
        """The manifest's digest: what a registry serves the image by."""
        return self.manifest.digest

    @property
    def entry(self) -> Descriptor:
        """As an index names it."""
        return replace(self.manifest.descriptor, platform=self.config.platform)

    @property
    def compressed_size(self) -> int:
        """Bytes of all layers as they are stored and pushed."""
        return sum(layer.descriptor.size for layer in self.layers)


class Assembler(Protocol):
    """Makes the image of a plan in the layout ``output``, which keeps its other images.

    Raises AssemblyError where it cannot, and IntegrityError where the tree does not hold what the plan names.
    """

    def assemble(self, plan: ImagePlan, tree: StagedTree, output: Path) -> AssembledImage: ...
