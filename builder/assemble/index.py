"""The images of several platforms as one: an index, which a tag can point to."""

from __future__ import annotations

from collections.abc import Sequence

from builder.assemble.image import AssembledImage
from builder.assemble.streamed import StreamedImage
from builder.host.fs import disk_errors
from builder.oci.graph import Graph, gather, index_of, joined
from builder.oci.manifest import Document


def write_index(images: Sequence[AssembledImage]) -> Document | None:
    """Put an index in the place of images that lie in one layout; None where there is but one, which needs none."""
    if len(images) == 1:
        return None
    layout = images[0].layout
    index = index_of([(image.entry, image.manifest) for image in images])
    with disk_errors(layout.path):
        layout.write(index.descriptor, (index.raw,), (), layout.blob_path)
    return index


def index_graph(index: Document, images: Sequence[AssembledImage]) -> Graph:
    """All that lies below the index of images in one layout."""
    return gather(index, images[0].layout)


def stream_index(images: Sequence[StreamedImage]) -> tuple[Document | None, Graph]:
    """The index (None for an only image), and the graph of everything."""
    if len(images) == 1:
        return None, images[0].graph
    index = index_of([(image.entry, image.manifest) for image in images])
    return index, joined([image.graph for image in images], index)
