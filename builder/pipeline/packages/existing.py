"""What is done with an image that exists: test it, push it. Reads an OCI layout or a registry, nothing of a build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.assemble.docker import export_image
from builder.assemble.embedded import validate_once
from builder.assemble.image import AssembledImage, AssembledLayer
from builder.errors import UsageError
from builder.host import Host
from builder.host.docker import DockerEngine, connect
from builder.host.fs import temporary_directory
from builder.model.attached import require_whole
from builder.oci.graph import layout_graph
from builder.oci.layout import Layout, is_layout
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline.checks import check_cache
from builder.pipeline.packages.attached import attach
from builder.pipeline.packages.pull import pull_image
from builder.pipeline.packages.report import attach_report, report_in
from builder.pipeline.prove import prove
from builder.pipeline.steps import Steps
from builder.plan.image import LayerRole
from builder.plan.spec import Attachment
from builder.probe.report import ProbeReport
from builder.registry.push import PushResult, push_graph, require_registry
from builder.registry.versions import require_free

_PATHS = ("/", "./", "../", "~")
"""What starts so is no reference."""


class ImageNotFound(UsageError):
    code = "image-not-found"
    message = "there is no directory {name} here, no image {name} in a Docker engine here, and {name} names no registry"
    hint = "name the directory of an OCI image layout, or the image with its registry, as in localhost:5000/{name}"


def is_path(image: str) -> bool:
    """Whether somebody means a directory here, and not an image's name."""
    return Path(image).exists() or image.startswith(_PATHS)


def is_model(image: str) -> bool:
    """Whether somebody means a model directory here, and not an image in a layout."""
    return is_path(image) and not is_layout(Path(image))


def test_image(image: str, platform: Platform, host: Host) -> ProbeReport:
    """Test an image, wherever it is. Raises what ``opened_image`` does, and what is wrong with it."""
    check_cache(host)
    with opened_image(image, platform, host) as layout:
        return _test_layout(layout, platform, host)


@contextmanager
def opened_image(image: str, platform: Platform, host: Host) -> Iterator[Layout]:
    """A layout with the image: the directory ``image``, or, for as long as it is open, one with the image of that name
    in the local Docker engine, or, where there is neither, with the one behind that reference in a registry. Raises
    NotALayout, ImageNotFound, or what a registry says."""
    if is_path(image):
        yield Layout(Path(image))
        return
    engine, known = engine_image(image, host)
    with temporary_directory(host.store.root / "tmp") as directory:
        if engine and known:
            yield export_image(known, engine, directory / "layout", host).layout
        else:
            yield Layout(pull_image(Reference.parse(image), platform, directory / "layout", host).path)


def engine_image(image: str, host: Host) -> tuple[DockerEngine | None, str]:
    """The local engine, if any, and the identifier of the image of that name in it, if any. Raises ImageNotFound where
    there is none and the name says no registry."""
    engine = connect(host.environ)
    known = engine.image_id(image) if engine else None
    if not known and Reference.parse(image).is_bare and not image.startswith("docker.io/"):
        raise ImageNotFound(name=image)
    return engine, known or ""


def push_layout(
    directory: Path, reference: Reference, host: Host, *, force: bool = False, wanted: tuple[Attachment, ...] = ()
) -> PushResult:
    """Push the image (or the index) in a layout directory, with the report of its build where that lies beside it, and
    attach to it what is ``wanted``; over a version that is there only with ``force`` (VersionTaken)."""
    require_registry(reference)
    steps = Steps(host)
    with steps.effect("push") as note:
        graph = layout_graph(Layout(directory))
        if not force:
            require_free(reference, graph.top.descriptor.digest, host)
        result = push_graph(graph, reference, host)
        note.detail = str(result.reference)
        if report := report_in(directory, graph.top.descriptor.digest):
            attach_report(report, graph, result.reference, host)
    return attach(graph, result, wanted, steps, host)


def _test_layout(layout: Layout, platform: Platform, host: Host) -> ProbeReport:
    """Every layer is read first: what was unpacked from its whole self before would pass the test in its stead."""
    image = layout_image(layout, platform, host)
    for descriptor in image.manifest.layers:
        for _ in layout.read_blob(descriptor):
            pass
    return prove(image, connect(host.environ), host)


def layout_image(layout: Layout, platform: Platform, host: Host) -> AssembledImage:
    """The image for ``platform`` in a layout, validated. Raises HalfAnImage, and what a layout does that has none, or a
    broken one."""
    entry = layout.find(platform=platform)
    manifest = layout.manifest(entry)
    config = layout.config(manifest)
    require_whole(config.labels, entry.digest)
    layers = tuple(
        AssembledLayer(descriptor=descriptor, diff_id=diff_id, role=LayerRole.MODEL)
        for descriptor, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
    )
    image = AssembledImage(path=layout.path, manifest=manifest, config=config, layers=layers)
    validate_once(host.store, image, entry)
    return image
