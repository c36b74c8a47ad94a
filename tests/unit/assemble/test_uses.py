"""An image in two over the same blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.assemble.uses import ModelsNotApart, server_image, split_images, weights_image
from builder.model.attached import USE, WEIGHTS, Use
from builder.oci.config import ImageConfig
from builder.oci.descriptor import IMAGE_CONFIG, IMAGE_INDEX
from builder.oci.graph import Graph, layer_roles, layout_graph
from builder.oci.manifest import Index, Manifest
from builder.oci.platform import Platform
from tests.support.artifacts import BOM, artifact
from tests.support.faces import FACE
from tests.support.tiny_image import AMD64, tiny_layout

ARM64 = Platform(os="linux", architecture="arm64")
ROLES = ("server", "model")


def one(directory: Path) -> Graph:
    return layout_graph(tiny_layout(directory, roles=ROLES, labels=FACE.to_labels(), base_name="r.example/base"))


def both(whole: Graph) -> tuple[Graph, Graph]:
    """The weights and the server."""
    images, subject = split_images(whole), whole.top.descriptor
    weights = weights_image(images, subject)
    return weights, server_image(images, subject, weights.top.descriptor.digest)


def read(graph: Graph, number: int = 0) -> tuple[Manifest, ImageConfig]:
    manifest = Manifest(graph.documents[number].raw)
    config = next(blob for blob in graph.blobs if blob.descriptor == manifest.config)
    return manifest, ImageConfig(b"".join(config.open()))


def test_every_layer_is_in_one_of_the_two(tmp_path: Path) -> None:
    whole = one(tmp_path)
    manifest, config = read(whole)
    weights, server = both(whole)
    parts = [read(server), read(weights)]
    assert [layer for part, _ in parts for layer in part.layers] == list(manifest.layers)
    assert [diff_id for _, part in parts for diff_id in part.diff_ids] == list(config.diff_ids)
    for part, own in parts:
        assert layer_roles(part, own) == tuple(role for role in ROLES if (role == "model") == (part is parts[1][0]))
        assert part.subject == whole.top.descriptor
        assert part.config.media_type == IMAGE_CONFIG
        assert part.artifact_type == IMAGE_CONFIG, "with a type of its own CRI-O would not take it for an image"
        assert own.platform == AMD64


def test_the_server_is_as_it_was_and_names_its_weights(tmp_path: Path) -> None:
    whole = one(tmp_path)
    before, settings = read(whole)[0], read(whole)[1].settings
    weights, server = both(whole)
    manifest, config = read(server)
    said = {USE: Use.SERVER, WEIGHTS: str(weights.top.descriptor.digest)}
    assert config.settings == {**settings, "Labels": {**settings["Labels"], **said}}
    assert manifest.annotations == {**before.annotations, **said}


def test_the_weights_say_whose_they_are_and_run_nothing(tmp_path: Path) -> None:
    manifest, config = read(both(one(tmp_path))[0])
    assert manifest.annotations == {USE: Use.WEIGHTS}, "they stand on no base"
    assert set(config.settings) == {"Labels"}
    assert config.labels["org.opencontainers.image.title"] == FACE.name
    assert not any(label.startswith("dev.mbuild.") for label in config.labels if label != USE)


def test_of_several_platforms_each_is_an_index(tmp_path: Path) -> None:
    one(tmp_path)
    whole = layout_graph(tiny_layout(tmp_path, platform=ARM64, roles=ROLES, weights=b"others"))
    for graph in both(whole):
        assert graph.top.descriptor.media_type == IMAGE_INDEX
        index = Index(graph.top.raw)
        assert [entry.platform for entry in index.manifests] == [AMD64, ARM64]
        assert index.annotations[USE]
        assert b'"subject"' in graph.top.raw
        assert [read(graph, number)[0].subject for number in range(2)] == [None, None]
        assert [read(graph, number)[1].platform for number in range(2)] == [AMD64, ARM64]


def test_the_same_image_gives_the_same_two(tmp_path: Path) -> None:
    first, second = (both(one(tmp_path / name)) for name in ("first", "second"))
    assert [graph.documents for graph in first] == [graph.documents for graph in second]


def test_an_image_whose_models_are_not_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelsNotApart, match="no layer of sha256:"):
        split_images(layout_graph(tiny_layout(tmp_path)))
    whole = layout_graph(tiny_layout(tmp_path))
    with pytest.raises(ModelsNotApart):
        split_images(artifact(whole.top.descriptor, BOM, b"{}"))
