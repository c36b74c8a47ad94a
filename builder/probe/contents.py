"""The files of an image as its layers say: paths, modes, owners, what the ELF files need, and the few small files that
a probe reads (golden cases, the model's description). Nothing is unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.elf.tree import follow
from builder.host.store import Store
from builder.oci.descriptor import Descriptor
from builder.oci.entry import EntryKind
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.probe.layer_contents import REVISION, LayerContents, LayerFile, read_layer

_RECORDS = "layer-contents"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """One path of the image: ``layer`` is the number of the layer that it comes from."""

    entry: LayerFile
    layer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageContents:
    """``files`` by path; ``kept`` the bytes of the few that a probe reads."""

    files: Mapping[PurePosixPath, ImageFile]
    kept: Mapping[PurePosixPath, bytes]

    def resolve(self, path: PurePosixPath) -> LayerFile | None:
        """The file or directory at ``path``, links followed inside the image; None where there is none."""
        place = follow(path, self._link_at)
        at_end = self.files.get(place) if place else None
        return at_end.entry if at_end else None

    def _link_at(self, path: PurePosixPath) -> str | None:
        found = self.files.get(path)
        return found.entry.target if found and found.entry.kind is EntryKind.SYMLINK else None


def read_contents(layout: Layout, manifest: Manifest, store: Store) -> ImageContents:
    """Stack the layers; what one holds is remembered in the store by its digest, since reading it again costs a second,
    compressed or large as it is. Raises WrongBytes, UnreadableLayer, UnsafeLayer, OversizedFile or DiskFull."""
    files: dict[PurePosixPath, ImageFile] = {}
    kept: dict[PurePosixPath, bytes] = {}
    for number, descriptor in enumerate(manifest.layers):
        layer = _layer(layout, descriptor, store)
        replaced = [file.path for file in layer.files if file.kind is not EntryKind.DIRECTORY and file.path in files]
        below, whole = {*layer.hidden, *layer.emptied, *replaced}, {*layer.hidden, *replaced}
        if below:
            for path in [path for path in files if path in whole or not below.isdisjoint(path.parents)]:
                files.pop(path)
                kept.pop(path, None)
        files |= {file.path: ImageFile(entry=file, layer=number) for file in layer.files}
        kept |= layer.kept
    return ImageContents(files=files, kept=kept)


def _layer(layout: Layout, descriptor: Descriptor, store: Store) -> LayerContents:
    scratch = store.root / "tmp"
    key = f"{REVISION}-{descriptor.digest.hex}"
    if record := store.record(_RECORDS, key):
        return LayerContents.from_json(record)
    layer = read_layer(layout, descriptor, scratch)
    store.put_record(_RECORDS, key, layer.to_json())
    return layer
