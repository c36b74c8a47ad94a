"""Takes a tag off an image that stays, also in a registry that removes manifests alone (the specification lets it
choose; distribution before version 3 is one): the tag goes to a stand-in, which is removed then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from builder.errors import RegistryError
from builder.events import EventSink, Warned
from builder.oci.digest import Digest
from builder.oci.manifest import Document
from builder.registry.client import RegistryClient
from builder.registry.errors import DeletionRefused, NotThere


class TagStandsIn(RegistryError):
    code = "tag-stands-in"
    message = "the tag {tag} could neither be removed nor put back ({reason}); it is a copy of {digest} now"
    hint = "`mbuild tag {repository}@{digest} {tag} --force` puts it back where it was"


def remove_tag(tag: str, document: Document, kept_by: Iterable[str], client: RegistryClient, events: EventSink) -> None:
    """Remove ``tag`` from the image ``document``, which the names ``kept_by`` (tags or its digest) still need.

    Raises DeletionRefused and what a registry says, the tag being where it was; TagStandsIn where it is not.
    """
    try:
        client.delete_manifest(tag)
    except (NotThere, DeletionRefused):
        _by_stand_in(tag, document, client)
        return
    for name in kept_by:
        if client.manifest_digest(name) is None:
            client.put_manifest(document, name)
            message = f"the registry took {name} away with the tag {tag}; it is put back"
            events.emit(Warned(message=message, hint="its software is older than the specification (1.1)"))


def delete_image(digest: Digest, tags: Iterable[str], client: RegistryClient) -> None:
    """Remove a manifest with all its tags. Some registries remove no manifest that has a tag, others no tag alone."""
    for tag in tags:
        try:
            client.delete_manifest(tag)
        except (NotThere, DeletionRefused):
            continue
    delete_if_there(digest, client)


def delete_if_there(digest: Digest, client: RegistryClient) -> None:
    """Remove a manifest, unless it went with another one."""
    try:
        client.delete_manifest(str(digest))
    except NotThere:
        return


def _by_stand_in(tag: str, document: Document, client: RegistryClient) -> None:
    """The stand-in is the same JSON with a space more: it names what is there, and its digest is nobody else's."""
    raw = document.raw + b" "
    stand_in = Document(descriptor=replace(document.descriptor, digest=Digest.of(raw), size=len(raw)), raw=raw)
    client.put_manifest(stand_in, tag)
    try:
        delete_if_there(stand_in.descriptor.digest, client)
    except RegistryError as error:
        _put_back(tag, document, client, error)
        raise


def _put_back(tag: str, document: Document, client: RegistryClient, cause: RegistryError) -> None:
    try:
        client.put_manifest(document, tag)
    except RegistryError:
        repository = f"{client.exchange.registry}/{client.exchange.repository}"
        digest = document.descriptor.digest
        raise TagStandsIn(tag=tag, digest=digest, repository=repository, reason=cause) from cause
