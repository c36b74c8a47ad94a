"""The file system of an image as a directory of this machine, kept in the store so that a second run costs nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from builder.canonical import content_key
from builder.host.store import Store
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.unpack import stack_layers, unpack_layer

_REVISION = 1


def root_filesystem(store: Store, layout: Layout, manifest: Manifest) -> Path:
    """The unpacked image: each layer unpacked once, and each stack of layers put together once, by hard links.

    The directory is shared by all that run this image: mount it read-only. Raises IntegrityError for damaged layers.
    """
    diff_ids = layout.config(manifest).diff_ids

    def stack(destination: Path) -> None:
        directories = [
            store.directory("unpacked-layers", diff_id.hex, partial(unpack_layer, layout, layer))
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        ]
        stack_layers(directories, destination)

    key = content_key({"diff_ids": [str(diff_id) for diff_id in diff_ids], "revision": _REVISION})
    return store.directory("roots", key, stack)
