"""An image in two, over the same blobs: the server without its models, and the models alone.

Servers write below ``/models`` only what belongs to a model (builder/servers/places.py), and layers of models have
nothing else, so the two mounted together are the tree of the whole. Only configs are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from builder.canonical import canonical_json
from builder.errors import UsageError
from builder.model.attached import USE, WEIGHTS, Use
from builder.oci.config import ImageConfig
from builder.oci.descriptor import DOCKER_CONFIG, IMAGE_CONFIG, INDEX_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import BASE_NAME, CONFIG_ROLE, Blob, Graph, index_of, joined, layer_roles
from builder.oci.manifest import Document, Index, Manifest
from builder.plan.image import LayerRole

_MODELS = (LayerRole.WEIGHTS, LayerRole.MODEL)
_OCI = "org.opencontainers.image."
_BASE_DIGEST = f"{_OCI}base.digest"


class ModelsNotApart(UsageError):
    code = "models-not-apart"
    message = "no layer of {digest} is marked as a model's, so there is nothing to attach on its own"
    hint = "only images that mbuild made have their models apart; build it with mbuild"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A layer of an image: its blob, and the digest of its tar."""

    blob: Blob
    diff_id: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitImage:
    """One platform's image with its layers in two: those of ``models``, and all others."""

    manifest: Manifest
    config: ImageConfig
    server: tuple[Part, ...]
    models: tuple[Part, ...]

    @property
    def annotations(self) -> dict[str, str]:
        return self.manifest.annotations


def split_images(whole: Graph) -> tuple[SplitImage, ...]:
    """The images of a graph, each with its layers in two. Raises ModelsNotApart."""
    blobs = {blob.descriptor.digest: blob for blob in whole.blobs}
    documents = {document.descriptor.digest: document for document in whole.documents}
    top = whole.top
    manifests = Index(top.raw).manifests if top.descriptor.media_type in INDEX_TYPES else (top.descriptor,)
    return tuple(_split(Manifest(documents[one.digest].raw), blobs) for one in manifests)


def _split(manifest: Manifest, blobs: Mapping[Digest, Blob]) -> SplitImage:
    if manifest.config.media_type not in (IMAGE_CONFIG, DOCKER_CONFIG):
        raise ModelsNotApart(digest=manifest.digest)
    config = ImageConfig(b"".join(blobs[manifest.config.digest].open()))
    parts = [
        Part(blob=blobs[layer.digest], diff_id=diff_id)
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    ]
    roles = layer_roles(manifest, config)
    models = tuple(part for part, role in zip(parts, roles, strict=True) if role in _MODELS)
    if not models:
        raise ModelsNotApart(digest=manifest.digest)
    server = tuple(part for part, role in zip(parts, roles, strict=True) if role not in _MODELS)
    return SplitImage(manifest=manifest, config=config, server=server, models=models)


def weights_image(images: Sequence[SplitImage], subject: Descriptor) -> Graph:
    """An image of the models alone, about ``subject``: what a volume is made of."""
    return _about(subject, [_weights(one) for one in images])


def server_image(images: Sequence[SplitImage], subject: Descriptor, weights: Digest) -> Graph:
    """The image without its models, about ``subject``; ``weights`` is what has them."""
    return _about(subject, [_server(one, weights) for one in images])


def spoken_annotations(image: SplitImage) -> dict[str, str]:
    """Those of the image that hold for its models, which stand on no base."""
    return {key: value for key, value in image.annotations.items() if key not in (BASE_NAME, _BASE_DIGEST)}


_Made = tuple[ImageConfig, tuple[Part, ...], dict[str, str]]


def _weights(image: SplitImage) -> _Made:
    created = str(image.config.fields.get("created", ""))
    spoken = {key: value for key, value in image.config.labels.items() if key.startswith(_OCI)}
    config = ImageConfig.build(
        platform=image.config.platform,
        created=created,
        settings={"Labels": {**spoken, USE: Use.WEIGHTS}},
        diff_ids=[part.diff_id for part in image.models],
        history=_history(image, of_models=True),
    )
    return config, image.models, {**spoken_annotations(image), USE: Use.WEIGHTS}


def _server(image: SplitImage, weights: Digest) -> _Made:
    said = {USE: str(Use.SERVER), WEIGHTS: str(weights)}
    fields, settings = image.config.fields, image.config.settings
    config = {
        **fields,
        "config": {**settings, "Labels": {**image.config.labels, **said}},
        "rootfs": {"type": "layers", "diff_ids": [str(part.diff_id) for part in image.server]},
        "history": _history(image, of_models=False),
    }
    return ImageConfig(canonical_json(config)), image.server, {**image.annotations, **said}


def _history(image: SplitImage, *, of_models: bool) -> list[Any]:
    """What made the layers of models; or all else, steps without a layer too."""
    made_by = {f"mbuild: {role}" for role in _MODELS}
    return [item for item in image.config.history if (item.get("created_by") in made_by) is of_models]


def _about(subject: Descriptor, made: Sequence[_Made]) -> Graph:
    """The one image, or an index of several; only what is on top is about the subject."""
    alone = subject if len(made) == 1 else None
    graphs = [_graph(*one, alone) for one in made]
    if alone:
        return graphs[0]
    images = [
        (replace(graph.top.descriptor, platform=one[0].platform), Manifest(graph.top.raw))
        for graph, one in zip(graphs, made, strict=True)
    ]
    return joined(graphs, index_of(images, subject))


def _graph(
    config: ImageConfig, parts: Sequence[Part], annotations: Mapping[str, str], subject: Descriptor | None
) -> Graph:
    manifest = Manifest.build(
        config=config.descriptor,
        layers=[part.blob.descriptor for part in parts],
        annotations=dict(sorted(annotations.items())),
        subject=subject,
    )
    own = Blob(descriptor=config.descriptor, open=lambda: (config.raw,), role=CONFIG_ROLE)
    top = Document(descriptor=manifest.descriptor, raw=manifest.raw)
    return Graph(blobs=(*(part.blob for part in parts), own), documents=(top,))
