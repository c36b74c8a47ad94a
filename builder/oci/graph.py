"""What travels between layouts and registries: everything below one digest, blobs and the documents that name them
(the OCI specification calls it a Merkle DAG)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from builder.errors import IntegrityError, MbuildError, UsageError
from builder.oci.config import ImageConfig
from builder.oci.descriptor import (
    DOCKER_CONFIG,
    EMPTY,
    EMPTY_CONTENT,
    IMAGE_CONFIG,
    IMAGE_INDEX,
    INDEX_TYPES,
    Descriptor,
)
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.oci.manifest import Document, Index, Manifest
from builder.oci.reference import Reference
from builder.oci.verify import MOST_JSON, TooLarge

BASE_NAME = "org.opencontainers.image.base.name"
CONFIG_ROLE, LAYER_ROLE = "config", "layer"
_MADE_BY = "mbuild: "
_DEEPEST = 4


class NothingToPush(UsageError):
    code = "nothing-to-push"
    message = "the layout {layout} holds no image"
    hint = "name a directory that `mbuild build -o DIR` wrote"


class TooDeep(IntegrityError):
    code = "too-deep"
    message = "the index {digest} lies more than {limit} indexes deep"
    hint = "no honest image is like that; do not use it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A layer, a config or an artifact's file, of which nothing need lie on a disk.

    ``open`` gives the bytes from their beginning each time that it is called, and raises at their end where they are
    not those of ``descriptor``. ``role`` is for people (base, model, config ...); ``origins`` names repositories
    (registry and name) that have it.
    """

    descriptor: Descriptor
    open: Callable[[], Iterable[bytes]]
    role: str = LAYER_ROLE
    origins: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """``documents`` are manifests and indexes, each after those that it names; the last is what a tag points to."""

    blobs: tuple[Blob, ...]
    documents: tuple[Document, ...]

    @property
    def top(self) -> Document:
        return self.documents[-1]

    @property
    def size(self) -> int:
        """Bytes of everything, each blob once."""
        return sum(blob.descriptor.size for blob in self.blobs) + sum(len(one.raw) for one in self.documents)


class Source(Protocol):
    """Where content is read: a layout or a repository. Both verify what they give."""

    def document(self, descriptor: Descriptor) -> Document: ...

    def read_blob(self, descriptor: Descriptor) -> Iterator[bytes]: ...


def gather(top: Document, source: Source, origins: tuple[tuple[str, str], ...] = ()) -> Graph:
    """All that lies below ``top``: of an index the images of every platform. Reads documents and configs only."""
    blobs: dict[Digest, Blob] = {}
    documents: dict[Digest, Document] = {}

    def walk(document: Document, depth: int) -> None:
        if depth > _DEEPEST:
            raise TooDeep(digest=document.descriptor.digest, limit=_DEEPEST)
        if document.descriptor.digest in documents:
            return
        if document.descriptor.media_type in INDEX_TYPES:
            for inner in Index(document.raw).manifests:
                walk(source.document(inner), depth + 1)
        else:
            for blob in _blobs(Manifest(document.raw), source, origins):
                blobs.setdefault(blob.descriptor.digest, blob)
        documents[document.descriptor.digest] = document

    walk(top, 0)
    return Graph(blobs=tuple(blobs.values()), documents=tuple(documents.values()))


def layout_graph(layout: Layout) -> Graph:
    """What a layout holds: its one entry as it is, or, of several, an index of all their images.

    Raises NothingToPush, NotALayout, MissingBlob or WrongBytes.
    """
    entries = layout.index.manifests
    if len(entries) == 1:
        return gather(layout.document(entries[0]), layout)
    images = tuple({image.digest: image for image in layout.images()}.values())
    if not images:
        raise NothingToPush(layout=layout.path)
    if len(images) == 1:
        return gather(layout.document(images[0]), layout)
    return gather(index_of([(image, layout.manifest(image)) for image in images]), layout)


def index_of(images: Sequence[tuple[Descriptor, Manifest]], subject: Descriptor | None = None) -> Document:
    """One index of images (with their platforms), in the order of these, so that the same images give the same index.
    It has the annotations that all of them have: registries show people those of the index. ``subject`` is what it is
    about."""
    shared = set.intersection(*(set(manifest.annotations.items()) for _, manifest in images))
    entries = [replace(entry, annotations={}) for entry, _ in images]
    entries.sort(key=lambda entry: (str(entry.platform), str(entry.digest)))
    raw = Index.build(entries, dict(sorted(shared)), subject).raw
    return Document(descriptor=Descriptor.of(raw, IMAGE_INDEX), raw=raw)


def joined(graphs: Sequence[Graph], index: Document) -> Graph:
    """The graphs of all images of an index as one, what they share once."""
    blobs = {blob.descriptor.digest: blob for graph in graphs for blob in graph.blobs}
    documents = {one.descriptor.digest: one for graph in graphs for one in graph.documents}
    return Graph(blobs=tuple(blobs.values()), documents=(*documents.values(), index))


def artifact_graph(
    artifact_type: str, files: Sequence[Blob], subject: Descriptor, annotations: Mapping[str, str] | None = None
) -> Graph:
    """An artifact about the manifest ``subject``: its files, the empty config, and the manifest that names them."""
    layers = [blob.descriptor for blob in files]
    manifest = Manifest.build_artifact(
        artifact_type=artifact_type, layers=layers, subject=subject, annotations=annotations
    )
    config = Blob(descriptor=EMPTY, open=lambda: (EMPTY_CONTENT,), role=CONFIG_ROLE)
    return Graph(blobs=(*files, config), documents=(Document(descriptor=manifest.descriptor, raw=manifest.raw),))


def layer_roles(manifest: Manifest, config: ImageConfig) -> tuple[str, ...]:
    """What each layer is for, as the config's history says of images that mbuild made; elsewhere ``layer``."""
    ours = [text.removeprefix(_MADE_BY) if text.startswith(_MADE_BY) else "" for text, _ in _steps(manifest, config)]
    return tuple(role or ("base" if any(ours) else LAYER_ROLE) for role in ours)


def layer_contents(manifest: Manifest, config: ImageConfig) -> tuple[str, ...]:
    """What of its role each layer holds (tensors, models, a library's part), as the history says of images that mbuild
    made; empty where it says nothing."""
    return tuple(comment if text.startswith(_MADE_BY) else "" for text, comment in _steps(manifest, config))


def _steps(manifest: Manifest, config: ImageConfig) -> list[tuple[str, str]]:
    """``created_by`` and ``comment`` of each layer; empty where the history is not one of these layers."""
    steps = [item for item in config.history if not item.get("empty_layer")]
    if len(steps) != len(manifest.layers):
        return [("", "")] * len(manifest.layers)
    return [(str(item.get("created_by", "")), str(item.get("comment", ""))) for item in steps]


def _blobs(manifest: Manifest, source: Source, origins: tuple[tuple[str, str], ...]) -> Iterator[Blob]:
    def blob(descriptor: Descriptor, role: str, origins: tuple[tuple[str, str], ...]) -> Blob:
        return Blob(descriptor=descriptor, open=lambda: source.read_blob(descriptor), role=role, origins=origins)

    for layer, role in zip(manifest.layers, _roles(manifest, source), strict=True):
        yield blob(layer, role, (*origins, *_base_repository(manifest)))
    yield blob(manifest.config, CONFIG_ROLE, origins)


def _roles(manifest: Manifest, source: Source) -> tuple[str, ...]:
    """An artifact has no image config, and its files are plain layers."""
    descriptor = manifest.config
    if descriptor.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG):
        return (LAYER_ROLE,) * len(manifest.layers)
    if descriptor.size > MOST_JSON:
        raise TooLarge(what=f"the config {descriptor.digest}", limit=MOST_JSON)
    return layer_roles(manifest, ImageConfig(b"".join(source.read_blob(descriptor))))


def _base_repository(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """The repository of the base image, as its annotation names it: the base's layers are there."""
    try:
        base = Reference.parse(manifest.annotations.get(BASE_NAME, ""))
    except MbuildError:
        return ()
    return ((base.registry, base.repository),)
