"""Copies an image, or an index with all its images, into a registry: from another one, or from an OCI layout. Bytes
stream through; nothing is written to a disk, and digests stay as they are. What is attached to it in its registry
(signatures, bills of materials: referrers) comes along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from builder.errors import UsageError
from builder.host import Host
from builder.oci.digest import Digest
from builder.oci.graph import Graph, layout_graph
from builder.oci.layout import Layout
from builder.oci.reference import PinnedReference, Reference
from builder.pipeline.packages.attached import attach
from builder.pipeline.packages.existing import is_path
from builder.pipeline.packages.report import attach_report, report_in
from builder.pipeline.steps import Steps
from builder.plan.spec import Attachment
from builder.registry.credentials import acting_for
from builder.registry.pull import find_image
from builder.registry.push import PushResult, push_graph, require_registry
from builder.registry.referrers import list_referrers, push_referrer
from builder.registry.transfer import Moved, Outcome, bytes_of
from builder.registry.versions import require_free

_ROLE = "attached"


class SourceNamesNoRegistry(UsageError):
    code = "source-names-no-registry"
    message = "there is no directory {name} here, and {name} names no registry"
    hint = "name the directory of an OCI image layout, or the image with its registry, as in localhost:5000/{name}"


def copy_image(
    source: str, destination: Reference, host: Host, *, force: bool = False, wanted: tuple[Attachment, ...] = ()
) -> PushResult:
    """``source`` is the directory of a layout or a reference, whose tag a destination without one gets. What is
    ``wanted`` is attached there.

    Raises what pulling and pushing raise, SourceNamesNoRegistry, and without ``force`` VersionTaken.
    """
    require_registry(destination)
    host = acting_for(destination.registry, host)
    origin = None if is_path(source) else source_reference(source)
    steps = Steps(host)
    with steps.effect("copy") as note:
        graph = find_image(origin, None, host).graph if origin else layout_graph(Layout(Path(source)))
        report = None if origin else report_in(Path(source), graph.top.descriptor.digest)
        if origin and not destination.tag and not destination.digest:
            destination = replace(destination, tag=origin.tag)
        if not force:
            require_free(destination, graph.top.descriptor.digest, host)
        result = push_graph(graph, destination, host)
        note.detail = str(result.reference)
        if report:
            attach_report(report, graph, result.reference, host)
        if origin:
            attached = tuple(_copy_attached(graph, origin, destination, host))
            result = replace(result, moved=(*result.moved, *_summed(attached)))
            note.detail += f" with {len(attached)} attached" if attached else ""
    return attach(graph, result, wanted, steps, host)


def source_reference(source: str) -> Reference:
    """What is named to be read. Raises SourceNamesNoRegistry for a bare name."""
    reference = Reference.parse(source)
    if reference.is_bare and not source.startswith("docker.io/"):
        raise SourceNamesNoRegistry(name=source)
    return reference


def _copy_attached(graph: Graph, origin: Reference, destination: Reference, host: Host) -> Iterator[PushResult]:
    """The referrers of every manifest of a graph, and theirs in turn (a bill of materials is signed, too)."""
    waiting = [document.descriptor.digest for document in graph.documents]
    seen: set[Digest] = set(waiting)
    while waiting:
        subject = waiting.pop()
        for found in list_referrers(_at(origin, subject), host):
            if found.digest not in seen:
                seen.add(found.digest)
                waiting.append(found.digest)
                artifact = find_image(_at(origin, found.digest), None, host).graph
                yield push_referrer(_at(destination, subject), artifact, host)


def _at(place: Reference, digest: Digest) -> PinnedReference:
    return PinnedReference(registry=place.registry, repository=place.repository, digest=digest)


def _summed(attached: tuple[PushResult, ...]) -> Iterator[Moved]:
    moved = [one for result in attached for one in result.moved]
    for outcome in Outcome:
        if size := bytes_of(moved, outcome):
            yield Moved(role=_ROLE, outcome=outcome, size=size)
