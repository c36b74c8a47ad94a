"""Copies an image, or an index with all its images, into a registry: from another one, or from an OCI layout. Bytes
stream through; nothing is written to a disk, and digests stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.errors import UsageError
from builder.host import Host
from builder.oci.graph import Graph, layout_graph
from builder.oci.layout import Layout
from builder.oci.reference import Reference
from builder.pipeline.existing import is_path
from builder.pipeline.steps import Steps
from builder.registry.credentials import acting_for
from builder.registry.pull import find_image
from builder.registry.push import PushResult, push_graph, require_registry


class SourceNamesNoRegistry(UsageError):
    code = "source-names-no-registry"
    message = "there is no directory {name} here, and {name} names no registry"
    hint = "name the directory of an OCI image layout, or the image with its registry, as in localhost:5000/{name}"


def copy_image(source: str, destination: Reference, host: Host) -> PushResult:
    """``source`` is the directory of a layout or a reference, whose tag a destination without one gets.

    Raises what pulling and pushing raise, and SourceNamesNoRegistry.
    """
    require_registry(destination)
    host = acting_for(destination.registry, host)
    with Steps(host).effect("copy") as note:
        graph, tag = _graph(source, host)
        if not destination.tag and not destination.digest:
            destination = replace(destination, tag=tag)
        result = push_graph(graph, destination, host)
        note.detail = str(result.reference)
    return result


def _graph(source: str, host: Host) -> tuple[Graph, str]:
    if is_path(source):
        return layout_graph(Layout(Path(source))), ""
    reference = Reference.parse(source)
    if reference.is_bare and not source.startswith("docker.io/"):
        raise SourceNamesNoRegistry(name=source)
    return find_image(reference, None, host).graph, reference.tag
