"""The ModelPack artifact of an image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from modelpack_client import ModelPackClient

from builder.assemble.modelpack import FaceMissing, modelpack
from builder.assemble.uses import split_images
from builder.model.modelpack import CONFIG_TYPE, FILE_PATH, MANIFEST_TYPE
from builder.oci.config import ImageConfig
from builder.oci.graph import Graph, layout_graph
from builder.oci.manifest import Manifest
from tests.support.faces import FACE
from tests.support.tiny_image import tiny_layout


def whole(directory: Path) -> Graph:
    """An image of chunks of weights below a model's layer."""
    return layout_graph(tiny_layout(directory, roles=("model", "weights"), labels=FACE.to_labels()))


def packed(image: Graph) -> tuple[Graph, Manifest, dict[str, object]]:
    graph = modelpack(split_images(image)[0], image.top.descriptor)
    config = next(blob for blob in graph.blobs if blob.descriptor.media_type == CONFIG_TYPE)
    return graph, Manifest(graph.top.raw), json.loads(b"".join(config.open()))


def test_the_blobs_are_those_of_the_image(tmp_path: Path) -> None:
    image = whole(tmp_path)
    graph, manifest, config = packed(image)
    own = Manifest(image.top.raw)
    assert [layer.digest for layer in manifest.layers] == [layer.digest for layer in own.layers]
    assert [layer.media_type.removeprefix("application/vnd.cncf.model.") for layer in manifest.layers] == [
        "weight.v1.tar+gzip",
        "weight.v1.tar",
    ]
    image_config = ImageConfig(b"".join(image.blobs[-1].open()))
    assert config["modelfs"] == {"type": "layers", "diffIds": [str(diff_id) for diff_id in image_config.diff_ids]}
    assert sum(blob.descriptor.size for blob in graph.blobs[2:]) + len(graph.top.raw) < 5_000


def test_another_reader_finds_nothing_wrong(tmp_path: Path) -> None:
    image = whole(tmp_path)
    _, manifest, config = packed(image)
    value = json.loads(manifest.raw)
    ModelPackClient._validate_manifest(value)
    ModelPackClient._validate_config(config, len(manifest.layers))
    assert (manifest.artifact_type, manifest.config.media_type) == (MANIFEST_TYPE, CONFIG_TYPE)
    assert manifest.subject == image.top.descriptor


def test_the_layer_that_makes_directories_comes_first(tmp_path: Path) -> None:
    image = layout_graph(tiny_layout(tmp_path, roles=("weights", "model"), labels=FACE.to_labels()))
    _, manifest, config = packed(image)
    weights, model = Manifest(image.top.raw).layers
    assert [layer.digest for layer in manifest.layers] == [model.digest, weights.digest]
    diff_ids = ImageConfig(b"".join(image.blobs[-1].open())).diff_ids
    assert config["modelfs"]["diffIds"] == [str(diff_id) for diff_id in diff_ids[::-1]]  # type: ignore[index]


def test_every_layer_says_of_which_directory_it_is_a_piece(tmp_path: Path) -> None:
    for layer in packed(whole(tmp_path))[1].layers:
        metadata = json.loads(layer.annotations["org.cncf.model.file.metadata+json"])
        assert layer.annotations[FILE_PATH] == metadata["name"] == "models"
        assert metadata == {**metadata, "mode": 0o755, "uid": 0, "gid": 0, "size": 0, "typeflag": 5}
        assert layer.annotations["org.cncf.model.file.mediatype.untested"] == "false"


def test_an_image_that_does_not_say_what_its_models_are(tmp_path: Path) -> None:
    image = layout_graph(tiny_layout(tmp_path, roles=("server", "model")))
    with pytest.raises(FaceMissing):
        modelpack(split_images(image)[0], image.top.descriptor)
