"""What `mbuild run` was asked for, as an image that a runner can start: built, or out of a layout, an engine or a
registry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from builder.assemble.docker import export_image
from builder.assemble.image import AssembledImage
from builder.assemble.load import load_into
from builder.host import Host
from builder.host.docker import DockerEngine
from builder.host.fs import temporary_directory
from builder.model.face import Face
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.build import build
from builder.pipeline.packages.existing import engine_image, is_path, layout_image
from builder.pipeline.packages.package import exposed_ports
from builder.pipeline.packages.pull import pull_image
from builder.pipeline.prove import image_to_load, probed
from builder.plan.spec import IN_THE_CACHE, BuildSpec
from builder.probe.runner import ProbedImage


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """``digest`` is that of its manifest, or its id where an engine knows no more. ``in_engine`` is its name where it
    is started by an engine, else ``unpacked`` is what is started. ``face`` is None where mbuild did not make it."""

    digest: str
    platform: str
    ports: tuple[int, ...]
    face: Face | None
    in_engine: str = ""
    unpacked: ProbedImage | None = None


def find_built(spec: BuildSpec, engine: DockerEngine | None, host: Host, *, test: bool) -> FoundImage:
    """The image of a model directory, built as ``mbuild build`` would; from the cache where nothing has changed."""
    result = build(spec, replace(IN_THE_CACHE, load=engine is not None, test=test), host)
    images = [one.image for one in result.images if isinstance(one.image, AssembledImage)]
    image = image_to_load(images) or images[0]
    return _assembled(image, engine)


def find_existing(
    image: str, platform: Platform, engine: DockerEngine | None, host: Host, stack: ExitStack
) -> FoundImage:
    """Of a layout directory, else of that name in the local Docker engine, else pulled to the cache. ``engine`` is what
    is to run it, if any. Raises NotALayout, ImageNotFound, or what a registry says."""
    if is_path(image):
        return _assembled(layout_image(Layout(Path(image)), platform, host), engine)
    local, known = engine_image(image, host)
    if known and engine:
        return _in_engine(engine, known)
    if known and local:
        place = stack.enter_context(temporary_directory(host.store.root / "tmp"))
        return _assembled(export_image(known, local, place / "layout", host), None)
    pulled = pull_image(Reference.parse(image), platform, None, host)
    return _assembled(layout_image(Layout(pulled.path), platform, host), engine)


def _assembled(image: AssembledImage, engine: DockerEngine | None) -> FoundImage:
    platform, ports = str(image.config.platform), exposed_ports(image.config)
    return FoundImage(
        digest=str(image.digest),
        platform=platform,
        ports=ports,
        face=Face.from_labels(image.config.labels, platform=platform, ports=ports),
        in_engine=load_into(engine, image, []) if engine else "",
        unpacked=None if engine else probed(image),
    )


def _in_engine(engine: DockerEngine, known: str) -> FoundImage:
    said = engine.image(known)
    assert said is not None, f"{known} was there a moment ago"
    pinned = next((digest.rpartition("@")[2] for digest in said.digests), said.id)
    return FoundImage(
        digest=pinned,
        platform=said.platform,
        ports=said.ports,
        face=Face.from_labels(said.labels, platform=said.platform, ports=said.ports),
        in_engine=said.id,
    )
