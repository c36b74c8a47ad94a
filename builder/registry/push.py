"""Pushes a graph: blobs, config, manifest, index, tag, in this order, so that what a tag points to is always whole.

It can be stopped and run again at any point: what is there is not moved again. Nothing of it need be on a disk: blobs
are openable streams (``builder.oci.graph``), from a layout, from another registry, or made while they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import RegistryError, UsageError
from builder.events import Warned
from builder.host import Host
from builder.oci.digest import Digest
from builder.oci.graph import CONFIG_ROLE, Blob, Graph, layout_graph
from builder.oci.layout import Layout
from builder.oci.manifest import Document
from builder.oci.reference import PinnedReference, Reference
from builder.registry.client import RegistryClient, connect
from builder.registry.credentials import Purpose
from builder.registry.origins import known_repository, note_repository
from builder.registry.transfer import Moved, Outcome, Tally, bytes_of, for_each

_STEP, _MANIFEST_ROLE = "push", "manifest"
_UNKNOWN = {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}
_MOST_SOURCES = 8


class TagNeedsRegistry(UsageError):
    code = "tag-needs-registry"
    message = "{name} does not say to which registry it is pushed"
    hint = "put the registry before it, for example localhost:5000/{name}, or docker.io/ACCOUNT/{name} for Docker Hub"


class PushedDigestDiffers(UsageError):
    code = "pushed-digest-differs"
    message = "the reference names {asked}, but the image is {actual}"
    hint = "push to a tag, or build the image that the digest names"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attached:
    """What was attached to an image that was pushed, under which name, and what that moved."""

    name: str
    pushed: PushResult

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, **self.pushed.to_json()}


@dataclass(frozen=True, kw_only=True, slots=True)
class PushResult:
    """Where the image is now, and how its bytes came there; ``tag`` is empty where it went under its digest."""

    reference: PinnedReference
    tag: str
    moved: tuple[Moved, ...]
    attached: tuple[Attached, ...] = ()

    @property
    def uploaded(self) -> int:
        return bytes_of(self.moved, Outcome.UPLOADED)

    @property
    def mounted(self) -> int:
        """Bytes taken over from another repository of the registry."""
        return bytes_of(self.moved, Outcome.MOUNTED)

    @property
    def reused(self) -> int:
        """Bytes that were there before."""
        return bytes_of(self.moved, Outcome.REUSED)

    def to_json(self) -> dict[str, object]:
        by_role: dict[str, dict[str, int]] = {}
        for one in self.moved:
            by_role.setdefault(one.role, {})[one.outcome.value] = one.size
        return {
            "reference": str(self.reference),
            "tag": self.tag or None,
            "uploaded": self.uploaded,
            "mounted": self.mounted,
            "skipped": self.reused,
            "by_role": by_role,
            "attached": [one.to_json() for one in self.attached],
        }


def require_registry(reference: Reference) -> None:
    """Raises TagNeedsRegistry for a bare name, which means Docker Hub's own images to every other tool."""
    if reference.is_bare:
        raise TagNeedsRegistry(name=reference.familiar)


def push(layout: Layout, reference: Reference, host: Host) -> PushResult:
    """Push what a layout holds: its one image or index as it is, several images through an index of them.

    Raises what ``push_graph`` does, NothingToPush, and IntegrityError when a blob of the layout is damaged.
    """
    require_registry(reference)
    return push_graph(layout_graph(layout), reference, host)


def push_graph(graph: Graph, reference: Reference, host: Host) -> PushResult:
    """Push a graph under a tag; without tag and digest it is ``latest``.

    Raises RegistryError and its kinds, TagNeedsRegistry, PushedDigestDiffers, and what reading a blob raises.
    """
    require_registry(reference)
    top = graph.top.descriptor
    if reference.digest and reference.digest != top.digest:
        raise PushedDigestDiffers(asked=reference.digest, actual=top.digest)
    tag = reference.tag or ("" if reference.digest else "latest")
    moved = _Push(graph, reference, tag, host).run()
    note_repository(host.store, reference, (blob.descriptor.digest for blob in graph.blobs))
    return PushResult(reference=reference.at(top.digest), tag=tag, moved=moved)


class _Push:
    """One run of it."""

    def __init__(self, graph: Graph, reference: Reference, tag: str, host: Host) -> None:
        self._graph, self._tag, self._events = graph, tag, host.events
        self._sources = _mount_sources(graph.blobs, reference, host)
        also = tuple(dict.fromkeys(self._sources.values()))
        self._client: RegistryClient = connect(reference, Purpose.PUSH, host, also_pull=also)
        self._tally = Tally(_STEP, graph.size, host.events)

    def run(self) -> tuple[Moved, ...]:
        for blobs in self._stages(self._graph.blobs):
            for_each(self._bring, blobs, self._tally)
        try:
            self._put_documents()
        except RegistryError as error:
            if not _UNKNOWN.intersection(_codes(error)):
                raise
            self._mend(error)
        return self._tally.moved

    def _stages(self, blobs: Iterable[Blob]) -> tuple[list[Blob], list[Blob]]:
        """The layers, the largest first, and then the configs."""
        ordered = sorted(blobs, key=lambda blob: -blob.descriptor.size)
        configs = [blob for blob in ordered if blob.role == CONFIG_ROLE]
        return [blob for blob in ordered if blob.role != CONFIG_ROLE], configs

    def _bring(self, blob: Blob) -> None:
        """Look it up, else mount it, else upload it."""
        if self._client.has_blob(blob.descriptor):
            self._tally.add(blob.descriptor, blob.role, Outcome.REUSED)
            return
        session = None
        if source := self._sources.get(blob.descriptor.digest):
            session = self._client.mount_blob(blob.descriptor.digest, source)
            if session is None:
                self._tally.add(blob.descriptor, blob.role, Outcome.MOUNTED)
                return
        self._client.upload_blob(blob, session, lambda done: self._tally.reach(blob.descriptor, blob.role, done))
        self._tally.add(blob.descriptor, blob.role, Outcome.UPLOADED)

    def _upload(self, blob: Blob) -> None:
        self._client.upload_blob(blob, None, lambda done: self._tally.reach(blob.descriptor, blob.role, done))
        self._tally.add(blob.descriptor, blob.role, Outcome.UPLOADED)

    def _put_documents(self) -> None:
        for document in self._graph.documents:
            if self._client.manifest_digest(self._name(document)) == document.descriptor.digest:
                self._tally.add(document.descriptor, _MANIFEST_ROLE, Outcome.REUSED)
            else:
                self._put(document)

    def _put(self, document: Document) -> None:
        self._client.put_manifest(document, self._name(document))
        self._tally.add(document.descriptor, _MANIFEST_ROLE, Outcome.UPLOADED)

    def _name(self, document: Document) -> str:
        """The tag for the last one, its digest for every other."""
        last = document is self._graph.top
        return self._tag if last and self._tag else str(document.descriptor.digest)

    def _mend(self, error: RegistryError) -> None:
        """The registry said that it has what it has not (its clean-up ran, or an answer was cached): once more,
        believing nothing. What it names is uploaded again, and where it names nothing, everything."""
        self._events.emit(Warned(message=f"{error}; what is missing there is uploaded again"))
        named = error.facts.get("named") or ()
        blobs = [blob for blob in self._graph.blobs if str(blob.descriptor.digest) in str(named)]
        for stage in self._stages(blobs or self._graph.blobs):
            for_each(self._upload, stage, self._tally)
        for document in self._graph.documents:
            self._put(document)


def _codes(error: RegistryError) -> Iterable[str]:
    codes = error.facts.get("oci_codes")
    return [str(code) for code in codes] if isinstance(codes, tuple) else []


def _mount_sources(blobs: Iterable[Blob], reference: Reference, host: Host) -> dict[Digest, str]:
    """For each blob that another repository of the registry is known to have, that one."""
    found: dict[Digest, str] = {}
    for blob in blobs:
        digest, own = blob.descriptor.digest, (reference.registry, reference.repository)
        origins = [origin for origin in blob.origins if origin[0] == own[0] and origin != own]
        source = origins[0][1] if origins else known_repository(host.store, reference, digest)
        if source and len({*found.values(), source}) <= _MOST_SOURCES:
            found[digest] = source
    return found
