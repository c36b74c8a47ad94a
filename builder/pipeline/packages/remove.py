"""Removes tags and images from a registry: first what would go, then, when somebody agreed to it, the removal.

A tag that is one of several goes alone; with its last tag an image goes, with the images of its platforms and what is
attached to them. What another tag still needs stays. Layers go when the registry collects its garbage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from builder.errors import RegistryError, UsageError
from builder.host import Host
from builder.model.attached import attachment_name
from builder.oci.descriptor import INDEX_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.manifest import Document, Index, Manifest
from builder.oci.reference import Reference
from builder.registry.client import RegistryClient, connect
from builder.registry.credentials import Purpose, acting_for
from builder.registry.errors import NotThere, UnexpectedAnswer
from builder.registry.listing import all_tags, is_of_referrers
from builder.registry.push import require_registry
from builder.registry.referrers import list_referrers, unlist_referrer
from builder.registry.removal import delete_if_there, delete_image, remove_tag

_AT_ONCE = 8


class NoTagNamed(UsageError):
    code = "no-tag-named"
    message = "{reference} names no tag and no digest"
    hint = "say what goes: {reference}:TAG or {reference}@sha256:...; `mbuild ls {reference}` lists what is there"


class SeveralRepositories(UsageError):
    code = "several-repositories"
    message = "{one} and {other} are not in one repository"
    hint = "remove what is in one repository at a time"


class StillNeeded(UsageError):
    code = "still-needed"
    message = "{digest} has other names, which would go with it or lead to nothing: {names}"
    hint = "name a tag, and that alone goes; name all of them; or --force removes it all the same"


class RemovalIncomplete(RegistryError):
    code = "removal-incomplete"
    message = "the removal stopped half-way: {reason}; gone: {gone}; still there: {left}"
    hint = "the same command goes on where something of it has a tag; what has none: `mbuild rm REPOSITORY@DIGEST`"


@dataclass(frozen=True, kw_only=True, slots=True)
class LooseTag:
    """A tag that goes while its image stays: other names (tags, or that of an index that it is part of) need it."""

    tag: str
    image: Document
    kept_by: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return {"tag": self.tag, "digest": str(self.image.descriptor.digest), "kept_by": list(self.kept_by)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DoomedImage:
    """An image or an index that goes, with its tags. ``subject`` is what it is about, if it is an artifact."""

    descriptor: Descriptor
    tags: tuple[str, ...] = ()
    subject: Digest | None = None

    def to_json(self) -> dict[str, object]:
        platform = self.descriptor.platform
        return {
            "digest": str(self.descriptor.digest),
            "tags": list(self.tags),
            "platform": str(platform) if platform else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What goes from one repository. ``attached`` are the artifacts about ``images``, ``lists`` the tags (and what they
    lead to) under which a registry without the referrers API has them."""

    repository: Reference
    loose: tuple[LooseTag, ...]
    images: tuple[DoomedImage, ...]
    attached: tuple[Descriptor, ...]
    lists: tuple[tuple[str, Digest], ...]

    def to_json(self) -> dict[str, object]:
        attached = [
            {"digest": str(one.digest), "what": attachment_name(one), "artifact_type": one.artifact_type or None}
            for one in self.attached
        ]
        return {
            "repository": str(self.repository),
            "tags": [one.to_json() for one in self.loose],
            "images": [one.to_json() for one in self.images],
            "attached": attached,
        }


def plan_removal(references: Sequence[Reference], host: Host, *, force: bool = False) -> Removal:
    """What goes with these tags and digests of one repository; nothing is removed. A tag with a digest must mean it.

    Raises NoTagNamed, SeveralRepositories, NotThere, without ``force`` StillNeeded, and what a registry says.
    """
    repository = _one_repository(references)
    client = _connected(repository, host)
    named = [(one, client.fetch_manifest(one.tag or str(one.digest))) for one in dict.fromkeys(references)]
    for one, document in named:
        _require_meant(one, document, client)
    listed = _all_tags(client)
    tagged = _read_tags([tag for tag in listed if not is_of_referrers(tag)], client)
    tagged |= {one.tag: document for one, document in named if one.tag}
    choice = _Choice(named, tagged, force=force, client=client)
    doomed = tuple(choice.images())
    attached = tuple(_attached(doomed, choice.needed, client, host))
    gone = {one.descriptor.digest for one in doomed} | {one.digest for one in attached}
    hidden = [tag for tag in listed if any(tag.startswith(f"sha256-{digest.hex}") for digest in gone)]
    return Removal(
        repository=repository,
        loose=tuple(choice.loose()),
        images=doomed,
        attached=attached,
        lists=tuple((tag, document.descriptor.digest) for tag, document in _read_tags(hidden, client).items()),
    )


def remove(removal: Removal, host: Host) -> None:
    """Remove what was planned: what is about an image before the image, so that a second try finds the rest.

    Raises DeletionRefused or what a registry says where nothing was removed yet, afterwards RemovalIncomplete.
    """
    client = _connected(removal.repository, host)
    work = list(_work(removal, client, host))
    for number, (_, act) in enumerate(work):
        try:
            act()
        except RegistryError as error:
            if not number:
                raise
            names = [name for name, _ in work]
            gone, left = ", ".join(names[:number]), ", ".join(names[number:])
            raise RemovalIncomplete(reason=error, gone=gone, left=left) from error


def _work(removal: Removal, client: RegistryClient, host: Host) -> Iterator[tuple[str, Callable[[], None]]]:
    for artifact in reversed(removal.attached):
        yield str(artifact.digest), partial(delete_if_there, artifact.digest, client)
    for tag, digest in removal.lists:
        yield tag, partial(delete_image, digest, (), client)
    for loose in removal.loose:
        yield loose.tag, partial(remove_tag, loose.tag, loose.image, loose.kept_by, client, host.events)
    for image in removal.images:
        digest = image.descriptor.digest
        yield " ".join((*image.tags, str(digest))), partial(delete_image, digest, image.tags, client)
        if image.subject:
            name = f"its entry in the list of {image.subject}"
            yield name, partial(unlist_referrer, image.subject, digest, client)


class _Choice:
    """Which of the named things go whole, and which as one name of several."""

    def __init__(
        self,
        named: Sequence[tuple[Reference, Document]],
        tagged: Mapping[str, Document],
        *,
        force: bool,
        client: RegistryClient,
    ) -> None:
        self._named, self._tagged, self._client = named, tagged, client
        by_digest = {document.descriptor.digest for one, document in named if not one.tag}
        going = {one.tag for one, _ in named}
        if force:
            going |= {tag for tag, document in tagged.items() if document.descriptor.digest in by_digest}
        self._going = going
        self.needed: dict[Digest, list[str]] = {}
        for tag, document in tagged.items():
            if tag not in going:
                for digest in dict.fromkeys(
                    (document.descriptor.digest, *(d.digest for d in _below(document, self._client)))
                ):
                    self.needed.setdefault(digest, []).append(tag)
        for digest in by_digest & self.needed.keys():
            if not force:
                raise StillNeeded(digest=digest, names=", ".join(self.needed[digest]))
            del self.needed[digest]

    def images(self) -> Iterator[DoomedImage]:
        """Each index before what it names."""
        tops = {document.descriptor.digest: document for _, document in self._named}
        seen = set(self.needed)
        for digest, top in tops.items():
            if digest in seen:
                continue
            seen.add(digest)
            tags = (tag for tag, one in self._tagged.items() if one.descriptor.digest == digest and tag in self._going)
            yield DoomedImage(descriptor=top.descriptor, tags=tuple(sorted(tags)), subject=_subject(top))
            for inner in _below(top, self._client):
                if inner.digest not in seen | tops.keys():
                    seen.add(inner.digest)
                    yield DoomedImage(descriptor=inner)

    def loose(self) -> Iterator[LooseTag]:
        for one, document in self._named:
            if kept_by := self.needed.get(document.descriptor.digest):
                own = [tag for tag in kept_by if self._tagged[tag].descriptor.digest == document.descriptor.digest]
                names = own or [str(document.descriptor.digest)]
                yield LooseTag(tag=one.tag, image=document, kept_by=tuple(names))


def _below(document: Document, client: RegistryClient) -> Iterator[Descriptor]:
    """What an index names, also through an index in it."""
    if document.descriptor.media_type not in INDEX_TYPES:
        return
    for inner in Index(document.raw).manifests:
        yield inner
        if inner.media_type in INDEX_TYPES:
            yield from _below(client.document(inner), client)


def _subject(document: Document) -> Digest | None:
    is_index = document.descriptor.media_type in INDEX_TYPES
    subject = (Index if is_index else Manifest)(document.raw).subject
    return subject.digest if subject else None


def _attached(
    doomed: Sequence[DoomedImage], needed: Mapping[Digest, object], client: RegistryClient, host: Host
) -> Iterator[Descriptor]:
    """Artifacts about them and, in turn, about those, each after what it names; not what has a tag of its own."""
    repository = Reference(registry=client.exchange.registry, repository=client.exchange.repository)
    waiting = [one.descriptor.digest for one in doomed]
    seen = {*waiting, *needed}
    while waiting:
        for found in list_referrers(repository.at(waiting.pop()), acting_for(repository.registry, host)):
            if found.digest not in seen:
                inner = _below(client.document(found), client) if found.media_type in INDEX_TYPES else ()
                for one in (*inner, found):
                    if one.digest not in seen:
                        seen.add(one.digest)
                        waiting.append(one.digest)
                        yield one


def _one_repository(references: Sequence[Reference]) -> Reference:
    first, *others = [replace(one, tag="", digest=None) for one in references]
    require_registry(first)
    for other in others:
        if other != first:
            raise SeveralRepositories(one=first.familiar, other=other.familiar)
    for one in references:
        if not one.tag and not one.digest:
            raise NoTagNamed(reference=one.familiar)
    return first


def _require_meant(reference: Reference, document: Document, client: RegistryClient) -> None:
    """Whether the tag is where whoever wrote the digest beside it saw it."""
    if reference.digest and reference.digest != document.descriptor.digest:
        name = f"tag {reference.tag} that is {reference.digest} (it is {document.descriptor.digest})"
        raise NotThere(registry=client.exchange.registry, repository=client.exchange.repository, what=name)


def _all_tags(client: RegistryClient) -> tuple[str, ...]:
    """Some registries do not know a repository that has no tag."""
    try:
        return all_tags(client)
    except NotThere:
        return ()


def _read_tags(tags: Sequence[str], client: RegistryClient) -> dict[str, Document]:
    """What they lead to; without those that lead to nothing (any more), and manifests of other kinds than images."""

    def read(tag: str) -> tuple[str, Document | None]:
        try:
            return tag, client.fetch_manifest(tag)
        except (NotThere, UnexpectedAnswer):
            return tag, None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {tag: document for tag, document in pool.map(read, tags) if document}


def _connected(repository: Reference, host: Host) -> RegistryClient:
    return connect(repository, Purpose.DELETE, acting_for(repository.registry, host))
