"""The embedded assembler: writes layers, config and manifest itself; no engine, no daemon, no root.

Layers are kept in the store under the key of everything that decides their bytes, so only what changed is written
again. The image is validated before it is returned; a layer that was found valid once is not read again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from builder.assemble.image import AssembledImage, AssembledLayer
from builder.assemble.meter import Meter
from builder.assemble.settings import build_config, build_manifest
from builder.canonical import content_key
from builder.errors import AssemblyError
from builder.host import Host
from builder.host.fs import disk_errors, on_one_device, require_room
from builder.host.store import Store
from builder.host.trees import StagedTree
from builder.oci.descriptor import DOCKER_LAYER_GZIP, LAYER_GZIP, Descriptor
from builder.oci.digest import Digest
from builder.oci.layer_writer import Compression, WrittenLayer, write_layer
from builder.oci.layout import Layout
from builder.oci.validate import validate_layer, validate_structure
from builder.plan.image import ImagePlan, LayerPlan, LayerRole

STEP = "assemble"
_LAYERS, _VALIDATED = "layers", "validated-layers"

THREADS = min(4, os.cpu_count() or 1)
"""Layers that are written side by side: hashing, compressing and writing leave the interpreter's lock."""


class MissingBaseLayer(AssemblyError):
    code = "missing-base-layer"
    message = "the layer {digest} of the base {reference} is not in the cache"
    hint = "run the build again: it pulls the base's layers"


class EmbeddedAssembler:
    """Writes images into OCI layouts, by way of the host's store."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def assemble(self, plan: ImagePlan, tree: StagedTree, output: Path) -> AssembledImage:
        """See ``Assembler``."""
        store = self._host.store
        missing = sum(layer.size for layer in plan.layers if stored_layer(store, layer) is None)
        meter = Meter(self._host.events, STEP, missing)

        def put(layer: LayerPlan) -> AssembledLayer:
            return put_layer(store, layer, tree, meter.advance)

        with ThreadPoolExecutor(THREADS) as pool:
            own = tuple(pool.map(put, plan.layers))
        return put_image(store, plan, [*base_layers(store, plan), *own], output)


def put_image(store: Store, plan: ImagePlan, layers: list[AssembledLayer], output: Path) -> AssembledImage:
    """Config and manifest over layers whose blobs are in the store, put into the layout and validated."""
    config = build_config(plan, layers)
    manifest = build_manifest(plan, config, layers)
    layout = Layout(output)
    _require_room(store, layers, layout)
    with disk_errors(output):
        entry = layout.write_image(manifest, config, store.blob_path)
    image = AssembledImage(path=output, manifest=manifest, config=config, layers=tuple(layers))
    validate_once(store, image, entry)
    return image


def _require_room(store: Store, layers: list[AssembledLayer], layout: Layout) -> None:
    """A layout on the store's own file system is hard links; on another one it is copies."""
    lacking = {
        layer.descriptor.digest: layer.descriptor.size
        for layer in layers
        if not layout.blob_path(layer.descriptor.digest).exists()
    }
    if not on_one_device(store.root, layout.path):
        require_room(layout.path, sum(lacking.values()), "the image")


def validate_once(store: Store, image: AssembledImage, entry: Descriptor) -> None:
    """Validate an image; its layers only where the store has no note that these very bytes were found valid."""
    validate_structure(image.layout, entry)
    for layer in image.layers:
        if store.record(_VALIDATED, _layer_key(layer.descriptor.digest, layer.diff_id)) is None:
            validate_layer(image.layout, layer.descriptor, layer.diff_id)
            _note_valid(store, layer.descriptor.digest, layer.diff_id)


def _note_valid(store: Store, digest: Digest, diff_id: Digest) -> None:
    store.put_record(_VALIDATED, _layer_key(digest, diff_id), {"digest": str(digest)})


def _layer_key(digest: Digest, diff_id: Digest) -> str:
    return content_key({"digest": str(digest), "diff_id": str(diff_id)})


def noted_layer(store: Store, layer: LayerPlan) -> AssembledLayer | None:
    """The layer as an earlier build made it, whether or not its blob was kept."""
    record = store.record(_LAYERS, _key(layer))
    if record is None:
        return None
    descriptor = Descriptor.from_json(record["descriptor"])
    return AssembledLayer(descriptor=descriptor, diff_id=Digest(record["diff_id"]), role=layer.role, part=layer.part)


def stored_layer(store: Store, layer: LayerPlan) -> AssembledLayer | None:
    """The layer as an earlier build wrote it, if its blob is still whole in the store."""
    noted = noted_layer(store, layer)
    return noted if noted and store.has_blob(noted.descriptor.digest) else None


def put_layer(store: Store, layer: LayerPlan, tree: StagedTree, on_bytes: Callable[[int], None]) -> AssembledLayer:
    """The layer, written into the store where it is not there."""
    if stored := stored_layer(store, layer):
        return stored
    with store.temporary_blob() as out:
        written = write_layer(layer.entries, tree.open, layer.compression, out, on_bytes)
        store.commit(out)
    note_layer(store, layer, written)
    return AssembledLayer(descriptor=written.descriptor, diff_id=written.diff_id, role=layer.role, part=layer.part)


def note_layer(store: Store, layer: LayerPlan, written: WrittenLayer) -> None:
    """Remember the blob of a layer, so that no build writes it again. A plain layer is valid as it was written: its
    digest was taken of those bytes on their way to the disk."""
    record = {"descriptor": written.descriptor.to_json(), "diff_id": str(written.diff_id)}
    store.put_record(_LAYERS, _key(layer), record)
    if layer.compression is Compression.NONE:
        _note_valid(store, written.descriptor.digest, written.diff_id)


def _key(layer: LayerPlan) -> str:
    return content_key({"layer": layer.key, "writer": layer.compression.writer})


def base_layers(store: Store, plan: ImagePlan) -> list[AssembledLayer]:
    """The layers of the plan's upstream base, in OCI's media types (the bytes are the same as under Docker's)."""
    layers: list[AssembledLayer] = []
    base = plan.base
    if base is None:
        return layers
    for descriptor, diff_id in zip(base.layers, base.diff_ids, strict=True):
        if not store.has_blob(descriptor.digest):
            raise MissingBaseLayer(digest=descriptor.digest, reference=base.reference)
        media_type = LAYER_GZIP if descriptor.media_type == DOCKER_LAYER_GZIP else descriptor.media_type
        plain = replace(descriptor, media_type=media_type)
        layers.append(AssembledLayer(descriptor=plain, diff_id=diff_id, role=LayerRole.BASE))
    return layers
