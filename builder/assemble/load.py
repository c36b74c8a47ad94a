"""Puts an assembled image into a Docker engine, so that ``docker run`` works at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from builder.assemble.image import AssembledImage
from builder.host.docker import DockerEngine
from builder.host.docker_calls import EngineFailed
from builder.oci.docker_archive import write_archive
from builder.oci.reference import Reference


def load_into(engine: DockerEngine, image: AssembledImage, tags: Sequence[Reference]) -> str:
    """Load the image and tag it; the id by which the engine knows it. An image that is there is only tagged."""
    names = [replace(tag, tag=tag.tag or "latest", digest=None).familiar for tag in tags]
    digest = image.config.digest
    if engine.has_image(digest):
        for name in names:
            engine.tag(str(digest), name)
        return str(digest)
    loaded = _load(engine, image, names)
    found = engine.image_id(str(digest)) or next(filter(None, map(engine.image_id, loaded)), None)
    if found is None:
        raise EngineFailed(action="load an image", reason=f"it took it, but has no {digest}")
    return found


def _load(engine: DockerEngine, image: AssembledImage, names: Sequence[str]) -> tuple[str, ...]:
    """Only the layers that the engine lacks travel. One that wants all of them all the same (a content store that was
    pruned below its images) gets them."""
    known = engine.known_layers(image.config.diff_ids)
    try:
        return engine.load(write_archive(image.layout, image.manifest, names, known))
    except EngineFailed:
        if not known:
            raise
        return engine.load(write_archive(image.layout, image.manifest, names))
