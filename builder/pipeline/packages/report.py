"""The report of a build as an artifact: the result without what only the building machine knows, attached to the image
in its registry (a referrer), and beside the manifest in a layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.canonical import readable_json
from builder.errors import IntegrityError, RegistryError
from builder.events import Warned
from builder.host import Host
from builder.host.clock import rfc3339
from builder.host.fs import atomic_write
from builder.model.measured import REPORT_TYPE
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Blob, Graph, artifact_graph
from builder.oci.manifest import MalformedManifest, Manifest
from builder.oci.reference import PinnedReference
from builder.oci.verify import MOST_JSON, TooLarge
from builder.pipeline.result import BuildResult
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for
from builder.registry.referrers import list_referrers, push_referrer

_CREATED = "org.opencontainers.image.created"
_DIRECTORY = "reports"


def report_of(result: BuildResult) -> bytes:
    """The result as builder/schemas/result.schema.json has it, but for paths of this machine and for what the push of
    the image moved."""
    value = result.to_json()
    value["files"] = {"layout": None, "lock": result.lock.name}
    return readable_json({**value, "push": None})


def write_report(layout: Path, digest: Digest, content: bytes) -> None:
    """Beside the manifest or index ``digest`` of a layout; a report of what is no longer there goes."""
    directory = layout / _DIRECTORY
    if directory.is_dir():
        for old in directory.glob("sha256-*.json"):
            if not (layout / "blobs" / "sha256" / old.stem.removeprefix("sha256-")).exists():
                old.unlink(missing_ok=True)
    atomic_write(_place(layout, digest), content)


def report_in(layout: Path, digest: Digest) -> bytes | None:
    """The report beside that manifest or index, if there is one."""
    try:
        return _place(layout, digest).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_report(layout: Path, digest: Digest) -> object:
    """The same as a JSON value. Raises MalformedManifest."""
    content = report_in(layout, digest)
    return None if content is None else _parsed(content, f"the report {_place(layout, digest)}")


def attach_report(content: bytes, graph: Graph, image: PinnedReference, host: Host) -> None:
    """Attach it to what was pushed as ``image``, and to each image of an index, which is what a machine runs and does
    not lead to its index; unless a report is there. All stays pushed where that fails: it is warned of."""
    host = acting_for(image.registry, host)
    blob = Blob(descriptor=Descriptor.of(content, REPORT_TYPE), open=lambda: (content,), role="report")
    created = {_CREATED: rfc3339(int(host.clock.now()))}
    try:
        for document in reversed(graph.documents):
            subject = replace(image, digest=document.descriptor.digest)
            if not list_referrers(subject, host, REPORT_TYPE):
                push_referrer(subject, artifact_graph(REPORT_TYPE, (blob,), document.descriptor, created), host)
    except RegistryError as error:
        message = f"the image is pushed, but its report could not be attached to it: {error}"
        host.events.emit(Warned(message=message, hint="`mbuild push LAYOUT REF` tries again"))


def bring_report(image: PinnedReference, layout: Path, host: Host) -> None:
    """Put the report that is attached to an image beside it in a layout; where that fails, it is warned of."""
    try:
        content = _newest_report(image, list_referrers(image, host, REPORT_TYPE), host)
    except (RegistryError, IntegrityError) as error:
        hint = "the image is whole; `mbuild inspect LAYOUT` shows it without what was measured"
        host.events.emit(Warned(message=f"the report of {image} could not be pulled: {error}", hint=hint))
        return
    if content is not None:
        write_report(layout, image.digest, content)


def fetch_report(image: PinnedReference, attached: Sequence[Descriptor], host: Host) -> object:
    """The newest report among what is ``attached`` to an image, as a JSON value; None where there is none. Raises what
    a registry says, IntegrityError."""
    content = _newest_report(image, attached, host)
    return None if content is None else _parsed(content, f"the report of {image}")


def _newest_report(image: PinnedReference, attached: Sequence[Descriptor], host: Host) -> bytes | None:
    found = [one for one in attached if one.artifact_type == REPORT_TYPE]
    if not found:
        return None
    newest = max(found, key=lambda one: one.annotations.get(_CREATED, ""))
    client = connect(image, Purpose.PULL, host)
    layers = Manifest(client.document(newest).raw).layers
    if not layers:
        return None
    if layers[0].size > MOST_JSON:
        raise TooLarge(what=f"the report {newest.digest}", limit=MOST_JSON)
    return client.fetch_blob(layers[0])


def _parsed(content: bytes, what: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedManifest(what=what, reason=f"not JSON ({error})") from error


def _place(layout: Path, digest: Digest) -> Path:
    return layout / _DIRECTORY / f"sha256-{digest.hex}.json"
