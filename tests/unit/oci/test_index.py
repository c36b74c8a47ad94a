"""Images of several platforms as one index: in a layout, and as a graph that is pushed."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.oci.descriptor import IMAGE_INDEX
from builder.oci.graph import gather, index_of, joined, layout_graph
from builder.oci.layout import Layout
from builder.oci.manifest import Document, Index, Manifest
from builder.oci.platform import Platform
from tests.support.tiny_image import AMD64, tiny_layout

ARM64 = Platform(os="linux", architecture="arm64")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Of two images, which have no index."""
    tiny_layout(tmp_path, base_name="r.example/base")
    return tiny_layout(tmp_path, platform=ARM64, base_name="r.example/base")


def index_it(layout: Layout) -> Document:
    return index_of([(image, layout.manifest(image)) for image in layout.images()])


def enter_index(layout: Layout, name: str = "") -> Document:
    index = index_it(layout)
    layout.write(index.descriptor, (index.raw,), (), layout.blob_path, name)
    return index


def blobs(layout: Layout) -> set[str]:
    return {path.name for path in (layout.path / "blobs/sha256").iterdir()}


def test_the_order_in_which_they_are_given_decides_nothing(layout: Layout) -> None:
    images = [(image, layout.manifest(image)) for image in layout.images()]
    index = index_of(images)
    assert index == index_of(images[::-1])
    assert [str(one.platform) for one in Index(index.raw).manifests] == ["linux/amd64", "linux/arm64"]


def test_it_says_what_all_of_them_say(layout: Layout) -> None:
    images = [(image, layout.manifest(image)) for image in layout.images()]
    assert b'"annotations":{"org.opencontainers.image.base.name":"r.example/base"}' in index_of(images).raw
    silent = Manifest.build(config=images[0][1].config, layers=images[0][1].layers)
    assert b"annotations" not in index_of([images[1], (images[0][0], silent)]).raw


def test_it_takes_the_place_of_its_images(layout: Layout) -> None:
    before = blobs(layout)
    index = enter_index(layout)
    assert [entry.digest for entry in layout.index.manifests] == [index.descriptor.digest]
    assert blobs(layout) == before | {index.descriptor.digest.hex}
    assert [layout.find(platform=one).platform for one in (AMD64, ARM64)] == [AMD64, ARM64]


def test_the_same_images_with_and_without_it_are_pushed_as_the_same(layout: Layout) -> None:
    flat = layout_graph(layout).top
    assert flat == enter_index(layout)
    assert flat == layout_graph(layout).top


def test_entered_twice_it_is_there_once(layout: Layout) -> None:
    assert enter_index(layout) == enter_index(layout)
    assert len(layout.index.manifests) == 1


def test_one_of_its_images_built_anew_leaves_the_other(layout: Layout, tmp_path: Path) -> None:
    index, arm64 = enter_index(layout), layout.find(platform=ARM64)
    tiny_layout(tmp_path, weights=b"new")
    assert [entry.platform for entry in layout.index.manifests] == [AMD64, ARM64]
    assert layout.find(platform=ARM64).digest == arm64.digest
    assert layout.manifest(arm64).layers[1].digest.hex in blobs(layout)
    assert index.descriptor.digest.hex not in blobs(layout)


def test_an_index_with_a_name_stays_whole(layout: Layout, tmp_path: Path) -> None:
    index = enter_index(layout, "r.example/all:1")
    tiny_layout(tmp_path, weights=b"new")
    assert index.descriptor.digest in [one.digest for one in layout.index.manifests if one.media_type == IMAGE_INDEX]
    assert layout.find("r.example/all:1", AMD64).platform == AMD64


def test_graphs_are_joined_and_what_they_share_is_there_once(layout: Layout) -> None:
    images, index = list(layout.images()), index_it(layout)
    graph = joined([gather(layout.document(image), layout) for image in images], index)
    digests = [blob.descriptor.digest for blob in graph.blobs]
    assert len(digests) == len(set(digests)) == 4, "two layers that both have, and a config of each"
    assert [one.descriptor.digest for one in graph.documents[:-1]] == [image.digest for image in images]
    assert graph.top == index


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_a_damaged_index_does_not_stop_a_build(layout: Layout, tmp_path: Path, content: bytes) -> None:
    layout.blob_path(enter_index(layout).descriptor.digest).write_bytes(content)
    tiny_layout(tmp_path)
    assert AMD64 in [entry.platform for entry in layout.index.manifests]
