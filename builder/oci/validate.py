"""The invariants of an image in a layout, as a callable (after go-containerregistry's ``pkg/v1/validate``).

``validate_structure`` reads the JSON only; ``validate_layer`` reads a whole layer; ``validate_image`` does both.
All raise subclasses of IntegrityError and return nothing.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from builder.errors import IntegrityError
from builder.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    IMAGE_CONFIG,
    LAYER_GZIP,
    LAYER_TAR,
    LAYER_ZSTD,
    MANIFEST_TYPES,
    Descriptor,
)
from builder.oci.digest import Digest
from builder.oci.layout import Layout, MissingBlob
from builder.oci.tar_reader import UnsafeLayer, open_tar, safe_path
from builder.oci.verify import WrongBytes, uncompressed

_LAYER_TYPES = (LAYER_TAR, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER_GZIP)
_MEMBER_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
_DEVICE_TYPES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class InvalidImage(IntegrityError):
    code = "invalid-image"
    message = "the image {digest} is not valid: {reason}"
    hint = "it was not written by a conforming tool, or it is damaged; build it again"


def validate_structure(layout: Layout, descriptor: Descriptor) -> None:
    """Manifest and config have their digests and fit together; each blob is there in its size. No layer is read."""
    manifest = layout.manifest(descriptor)
    config = layout.config(manifest)

    def require(truth: bool, reason: str) -> None:
        if not truth:
            raise InvalidImage(digest=descriptor.digest, reason=reason)

    require(manifest.media_type in MANIFEST_TYPES, f"its manifest is a {manifest.media_type}")
    require(manifest.media_type == descriptor.media_type, "index and manifest name different media types")
    config_type = manifest.config.media_type
    require(config_type in (IMAGE_CONFIG, DOCKER_CONFIG), f"its config is a {config_type}")
    count = len(manifest.layers)
    require(count == len(config.diff_ids), f"it has {count} layers and {len(config.diff_ids)} diff_ids")
    history = config.fields.get("history") or ()
    filled = sum(1 for item in history if not item.get("empty_layer"))
    require(not history or filled == count, f"its history speaks of {filled} layers, not of {count}")
    if descriptor.platform:
        require(descriptor.platform == config.platform, f"its config is for {config.platform}")
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        require(layer.media_type in _LAYER_TYPES, f"a layer is a {layer.media_type}")
        plain = layer.media_type == LAYER_TAR
        require(not plain or layer.digest == diff_id, f"the plain layer {layer.digest} has another diff_id")
        _require_size(layout, layer)


def _require_size(layout: Layout, layer: Descriptor) -> None:
    try:
        size = layout.blob_path(layer.digest).stat().st_size
    except FileNotFoundError as error:
        raise MissingBlob(path=layout.path, digest=layer.digest) from error
    if size != layer.size:
        raise WrongBytes(digest=layer.digest, difference=f"there are {size}, not {layer.size}")


def validate_layer(layout: Layout, layer: Descriptor, diff_id: Digest) -> None:
    """Stored and uncompressed bytes have their digests; the tar is well-formed, its paths are safe and not repeated."""
    chunks = _with_diff_id(layout, layer, diff_id)
    seen: set[PurePosixPath] = set()
    with open_tar(chunks) as archive:
        for member in archive:
            path = safe_path(member.name, layer.digest)
            if path in seen:
                raise UnsafeLayer(digest=layer.digest, path=member.name, reason="twice")
            seen.add(path)
            if member.type == tarfile.LNKTYPE:
                safe_path(member.linkname, layer.digest)
            elif member.type not in (*_MEMBER_TYPES, *_DEVICE_TYPES):
                raise UnsafeLayer(digest=layer.digest, path=member.name, reason=f"a member of type {member.type!r}")
    for _ in chunks:  # to the end, where the digests are checked
        pass


def _with_diff_id(layout: Layout, layer: Descriptor, diff_id: Digest) -> Iterator[bytes]:
    """The layer's tar; raises at its end when it is not the one of ``diff_id``. A plain one is hashed once only."""
    stored = layout.read_blob(layer)
    if layer.media_type == LAYER_TAR:
        yield from stored
        actual = layer.digest
    else:
        hasher = hashlib.sha256()
        for chunk in uncompressed(stored, layer.media_type):
            hasher.update(chunk)
            yield chunk
        actual = Digest.from_hex(hasher.hexdigest())
    if actual != diff_id:
        raise InvalidImage(digest=layer.digest, reason=f"uncompressed it is {actual}, its config says {diff_id}")


def validate_image(layout: Layout, descriptor: Descriptor) -> None:
    """Everything: the structure and each layer."""
    validate_structure(layout, descriptor)
    manifest = layout.manifest(descriptor)
    for layer, diff_id in zip(manifest.layers, layout.config(manifest).diff_ids, strict=True):
        validate_layer(layout, layer, diff_id)
