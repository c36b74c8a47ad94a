"""An image that is sent without having been written down: its weights are read where they lie, while they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from builder.assemble.embedded import base_layers, noted_layer, put_layer
from builder.assemble.image import AssembledLayer
from builder.assemble.settings import build_config, build_manifest
from builder.host import Host
from builder.host.store import Store
from builder.host.trees import StagedTree
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.entry import FileEntry
from builder.oci.graph import Graph, gather
from builder.oci.layer_writer import read_file_layer
from builder.oci.manifest import Document, Manifest
from builder.plan.image import ImagePlan, LayerPlan, LayerRole


@dataclass(frozen=True, kw_only=True)
class StreamedImage:
    """Manifest and config of an image whose small layers are in the store, and whose weights are ``chunks`` (by the
    digest of the layer) of ``tree``. It is a ``Source`` of its own graph."""

    manifest: Manifest
    config: ImageConfig
    layers: tuple[AssembledLayer, ...]
    chunks: dict[Digest, FileEntry]
    tree: StagedTree
    store: Store

    @property
    def digest(self) -> Digest:
        """As of AssembledImage: what a registry serves the image by."""
        return self.manifest.digest

    @property
    def entry(self) -> Descriptor:
        """As an index names it."""
        return replace(self.manifest.descriptor, platform=self.config.platform)

    @property
    def graph(self) -> Graph:
        return gather(self.document(self.manifest.descriptor), self)

    def document(self, descriptor: Descriptor) -> Document:
        return Document(descriptor=descriptor, raw=self.manifest.raw)

    def read_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Raises ChangedFile for a chunk whose file is no longer what it was, DamagedBlob for another layer."""
        if descriptor.digest == self.config.digest:
            return iter((self.config.raw,))
        chunk = self.chunks.get(descriptor.digest)
        if chunk is None:
            return self.store.read_blob(descriptor.digest)
        return read_file_layer(chunk, self.tree.open)


def stream_image(plan: ImagePlan, tree: StagedTree, host: Host) -> StreamedImage:
    """The image of a plan: the same digest as the embedded assembler's."""
    chunks: dict[Digest, FileEntry] = {}

    def layer_of(layer: LayerPlan) -> AssembledLayer:
        noted = noted_layer(host.store, layer) if layer.role is LayerRole.WEIGHTS else None
        if noted is None:
            return put_layer(host.store, layer, tree, lambda _: None)
        chunks[noted.descriptor.digest] = layer.entries[0]
        return noted

    layers = (*base_layers(host.store, plan), *map(layer_of, plan.layers))
    config = build_config(plan, layers)
    return StreamedImage(
        manifest=build_manifest(plan, config, layers),
        config=config,
        layers=layers,
        chunks=chunks,
        tree=tree,
        store=host.store,
    )
