"""Attaches to an image in a registry what uses its layers otherwise, and finds it there again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from builder.assemble.modelpack import modelpack
from builder.assemble.uses import server_image, split_images, weights_image
from builder.host import Host
from builder.model.attached import USE, WEIGHTS, Use, WeightsVolume
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Graph
from builder.oci.reference import PinnedReference
from builder.pipeline.steps import Steps
from builder.plan.spec import Attachment
from builder.registry.credentials import acting_for
from builder.registry.push import Attached, PushResult
from builder.registry.referrers import list_referrers, push_referrer


def attach(whole: Graph, pushed: PushResult, wanted: tuple[Attachment, ...], steps: Steps, host: Host) -> PushResult:
    """Attach ``wanted`` to what was ``pushed`` of ``whole``. Its blobs are there, so next to nothing moves; again is
    harmless. Raises ModelsNotApart, FaceMissing, and what a registry says."""
    if not wanted:
        return pushed
    image = pushed.reference
    host = acting_for(image.registry, host)
    with steps.effect("attach") as note:
        attached = tuple(
            Attached(name=name, pushed=push_referrer(image, graph, host)) for name, graph in _graphs(whole, wanted)
        )
        note.detail = ", ".join(one.name for one in attached)
    return replace(pushed, attached=attached)


def attach_each(
    whole: Graph, pushed: Sequence[PushResult], wanted: tuple[Attachment, ...], steps: Steps, host: Host
) -> tuple[PushResult, ...]:
    """The same in each repository that it was pushed to, whatever tags it has there."""
    first = {one.reference: number for number, one in reversed(list(enumerate(pushed)))}
    return tuple(
        attach(whole, one, wanted, steps, host) if first[one.reference] == number else one
        for number, one in enumerate(pushed)
    )


def _graphs(whole: Graph, wanted: tuple[Attachment, ...]) -> Iterator[tuple[str, Graph]]:
    """The weights before the server, which names them. Models are the same on every platform, so one ModelPack is for
    all."""
    images, subject = split_images(whole), whole.top.descriptor
    if Attachment.MODELPACK in wanted:
        yield Attachment.MODELPACK, modelpack(images[0], subject)
    if Attachment.WEIGHTS_IMAGE in wanted:
        weights = weights_image(images, subject)
        yield Use.WEIGHTS, weights
        yield Use.SERVER, server_image(images, subject, weights.top.descriptor.digest)


def find_weights_volume(image: PinnedReference, host: Host) -> WeightsVolume | None:
    """The two images that were attached to ``image`` (``mbuild push --weights-image``), by digest; None where there
    are none. ``image`` is what was pushed: of several platforms the index. Raises what a registry says."""
    listed = list_referrers(image, acting_for(image.registry, host))
    there = {one.digest for one in listed if one.annotations.get(USE) == Use.WEIGHTS}
    servers = sorted(filter(_is_server, listed), key=lambda one: str(one.digest))
    for server in servers:
        weights = Digest(server.annotations.get(WEIGHTS, ""))
        if weights in there:
            at = {"registry": image.registry, "repository": image.repository}
            return WeightsVolume(
                server=PinnedReference(**at, digest=server.digest), weights=PinnedReference(**at, digest=weights)
            )
    return None


def _is_server(one: Descriptor) -> bool:
    return one.annotations.get(USE) == Use.SERVER and WEIGHTS in one.annotations
