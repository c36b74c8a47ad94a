"""Images out of a registry again: a whole one as an OCI layout, or its model alone, as files; the latter also out of a
ModelPack artifact, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import IntegrityError, UsageError
from builder.host import Host
from builder.host.fs import disk_errors, temporary_directory, why_not_writable
from builder.model.modelpack import FILE_PATH, is_model_layer, layer_type
from builder.oci.config import ImageConfig
from builder.oci.descriptor import DOCKER_CONFIG, IMAGE_CONFIG, INDEX_TYPES, Descriptor
from builder.oci.graph import CONFIG_ROLE, Blob, Graph
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.oci.unpack import unpack_layers
from builder.pipeline.cache import sweep_cache
from builder.pipeline.checks import check_cache, check_output
from builder.pipeline.packages.report import bring_report
from builder.pipeline.steps import Steps
from builder.plan.image import LayerRole
from builder.registry.credentials import acting_for
from builder.registry.pull import RemoteImage, fetch_blobs, find_image
from builder.registry.transfer import Moved, Outcome, bytes_of

_STEP = "pull"
_MODEL = (LayerRole.WEIGHTS, LayerRole.MODEL)
_TITLE = "org.opencontainers.image.title"


class NoModelLayer(UsageError):
    code = "no-model-layer"
    message = "no layer of {reference} is marked as a model's"
    hint = "only images that mbuild made, and ModelPacks, can be pulled with --model-only; pull it whole, without"


class FileNameMissing(IntegrityError):
    code = "file-name-missing"
    message = "the layer {digest} of {reference} is a file, and does not say which"
    hint = f"whoever packs a ModelPack must write {FILE_PATH} into the layer's annotations"


class DirectoryInUse(UsageError):
    code = "directory-in-use"
    message = "the model cannot be written to {path}: {reason}"
    hint = "name a new or an empty directory with -o"


@dataclass(frozen=True, kw_only=True, slots=True)
class PullResult:
    """What was pulled, where it is now, and how its bytes came there."""

    reference: PinnedReference
    path: Path
    moved: tuple[Moved, ...]

    @property
    def downloaded(self) -> int:
        return bytes_of(self.moved, Outcome.DOWNLOADED)

    @property
    def reused(self) -> int:
        """Bytes that the cache had."""
        return bytes_of(self.moved, Outcome.REUSED)

    def to_json(self) -> dict[str, object]:
        return {
            "reference": str(self.reference),
            "path": str(self.path),
            "downloaded": self.downloaded,
            "reused": self.reused,
        }


def pull_image(
    reference: Reference | PinnedReference, platform: Platform | None, output: Path | None, host: Host
) -> PullResult:
    """An image as an OCI layout in ``output`` (default: a place in the cache), its bytes as the registry has them, and
    its report beside it.

    ``platform`` chooses from an index; None takes everything that it names. Raises what a registry says,
    PlatformMissing, OutputNotUsable, IntegrityError; what was fetched until then is kept in the cache.
    """
    check_cache(host)
    check_output(output)
    sweep_cache(host)
    with Steps(host).effect(_STEP) as note:
        acting = acting_for(reference.registry, host)
        image = find_image(reference, platform, acting)
        moved = fetch_blobs(image, image.graph.blobs, host)
        path = output or host.store.root / "images" / "pulled" / image.reference.digest.hex
        with host.store.exclusive(f"layout-{image.reference.digest.hex}"), disk_errors(path):
            _write_layout(image, path, host)
            bring_report(image.reference, path, acting)
        note.detail = str(image.reference)
    return PullResult(reference=image.reference, path=path, moved=moved)


def pull_model(reference: Reference, platform: Platform, output: Path, host: Host) -> PullResult:
    """The files of an image's model layers below ``output``, at their paths in the image; nothing else is fetched. Of a
    ModelPack those of all layers but data sets, at the paths that it gives them.

    They are there whole or not at all. Raises what ``pull_image`` does, NoModelLayer, FileNameMissing, DirectoryInUse,
    UnsafeLayer.
    """
    check_cache(host)
    _require_empty(output)
    sweep_cache(host)
    with Steps(host).effect(_STEP) as note:
        image = find_image(reference, platform, acting_for(reference.registry, host))
        blobs = {blob.descriptor.digest: blob for blob in image.graph.blobs if _is_of_model(blob)}
        layers = [layer for layer in Manifest(image.graph.top.raw).layers if layer.digest in blobs]
        if not layers:
            raise NoModelLayer(reference=image.reference)
        names = [_file_name(layer, image) for layer in layers]
        moved = fetch_blobs(image, blobs.values(), host)
        _unpack(layers, names, output, host)
        note.detail = str(image.reference)
    return PullResult(reference=image.reference, path=output, moved=moved)


def _write_layout(image: RemoteImage, path: Path, host: Host) -> None:
    graph = image.graph
    top = replace(graph.top.descriptor, platform=_platform(graph, host))
    blobs = [blob.descriptor for blob in graph.blobs]
    documents = [document.raw for document in graph.documents]
    Layout(path).write(top, documents, blobs, host.store.blob_path, str(image.reference))


def _platform(graph: Graph, host: Host) -> Platform | None:
    """Of one image; an index has several, an artifact none."""
    if graph.top.descriptor.media_type in INDEX_TYPES:
        return None
    config = Manifest(graph.top.raw).config
    if config.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG):
        return None
    return ImageConfig(b"".join(host.store.read_blob(config.digest))).platform


def _is_of_model(blob: Blob) -> bool:
    return blob.role in _MODEL or (blob.role != CONFIG_ROLE and is_model_layer(blob.descriptor.media_type))


def _file_name(layer: Descriptor, image: RemoteImage) -> str:
    """Of a layer of a ModelPack that is no tar the file's path; else nothing."""
    if not is_model_layer(layer.media_type) or layer_type(layer.media_type):
        return ""
    name = layer.annotations.get(FILE_PATH) or layer.annotations.get(_TITLE, "")
    if not name:
        raise FileNameMissing(digest=layer.digest, reference=image.reference)
    return name


def _require_empty(output: Path) -> None:
    reason = why_not_writable(output)
    if not reason and output.exists() and any(output.iterdir()):
        reason = "it is not empty"
    if reason:
        raise DirectoryInUse(path=output, reason=reason)


def _unpack(layers: Sequence[Descriptor], names: Sequence[str], output: Path, host: Host) -> None:
    """Beside its place first, and then there by one rename."""
    with disk_errors(output), temporary_directory(output.absolute().parent, prefix=".mbuild-pull-") as place:
        files = place / "files"
        files.mkdir(mode=0o755)
        unpack_layers(Layout(host.store.root), list(map(_as_layer, layers)), files, names)
        if output.exists():
            output.rmdir()
        files.rename(output)


def _as_layer(descriptor: Descriptor) -> Descriptor:
    """A ModelPack's, as an image would name it."""
    return replace(descriptor, media_type=layer_type(descriptor.media_type) or descriptor.media_type)
