"""Artifacts about an image: signatures, bills of materials, provenance (distribution-spec v1.1.1, "Listing Referrers").

A registry that has the referrers API lists them itself. For one that has not, the list is the index under the tag
``sha256-<hex of the subject>``, which clients keep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from builder.canonical import canonical_json
from builder.errors import RegistryError
from builder.host import Host
from builder.host.http import Request
from builder.oci.descriptor import IMAGE_INDEX, INDEX_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Graph
from builder.oci.manifest import Document, Index, Manifest, parse_object
from builder.oci.reference import PinnedReference, Reference
from builder.registry.client import MANIFEST_LIMIT, RegistryClient, connect
from builder.registry.credentials import Purpose
from builder.registry.errors import NotThere
from builder.registry.push import PushResult, push_graph

_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_NO_API = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_MOST_PAGES = 100


class ReferrersContended(RegistryError):
    code = "referrers-contended"
    message = "the list of referrers {tag} in {repository} is written to by others all the time"
    hint = "run the command again when they are done; the artifact itself is in the registry"


class TooManyReferrers(RegistryError):
    code = "too-many-referrers"
    message = "the registry {registry} goes on listing referrers of {subject} after {pages} pages"
    hint = "ask for one artifact type, or clean up the repository"


def push_referrer(subject: PinnedReference, artifact: Graph, host: Host) -> PushResult:
    """Push an artifact whose manifest names ``subject``, and see that it is listed. Again is harmless.

    Raises what ``push_graph`` does, and ReferrersContended.
    """
    digest = artifact.top.descriptor.digest
    place = Reference(registry=subject.registry, repository=subject.repository, digest=digest)
    result = push_graph(artifact, place, host)
    client = connect(subject, Purpose.PUSH, host)
    if _by_api(client, subject.digest, "") is None:
        _list_under_tag(client, subject.digest, _entry(artifact.top))
    return result


def list_referrers(subject: PinnedReference, host: Host, artifact_type: str = "") -> tuple[Descriptor, ...]:
    """The manifests that name ``subject``, of one artifact type or of all; none is an empty list."""
    client = connect(subject, Purpose.PULL, host)
    listed = _by_api(client, subject.digest, artifact_type)
    if listed is None:
        under_tag = _under_tag(client, subject.digest)
        listed = Index(under_tag.raw).manifests if under_tag else ()
    return tuple(one for one in listed if artifact_type in ("", one.artifact_type))


def unlist_referrer(subject: Digest, artifact: Digest, client: RegistryClient) -> None:
    """Take an artifact that is no longer there off the list of a subject that stays; a registry with the API does that
    itself."""
    known = _under_tag(client, subject)
    if known is None:
        return
    value = parse_object(known.raw, f"the index {_tag(subject)}")
    left = [one for one in value["manifests"] if one.get("digest") != str(artifact)]
    if len(left) < len(value["manifests"]):
        raw = canonical_json({**value, "manifests": left})
        client.put_manifest(Document(descriptor=Descriptor.of(raw, IMAGE_INDEX), raw=raw), _tag(subject))


def _by_api(client: RegistryClient, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...] | None:
    """None where the registry has no such API."""
    url = client.exchange.url("referrers", str(subject))
    if artifact_type:
        url += "?" + urlencode({"artifactType": artifact_type})
    pages = []
    for page in _pages(client, url):
        if page is None:
            return None
        pages.append(page)
        if len(pages) > _MOST_PAGES:
            raise TooManyReferrers(registry=client.exchange.registry, subject=subject, pages=_MOST_PAGES)
    return tuple(one for page in pages for one in page.manifests)


def _pages(client: RegistryClient, url: str) -> Iterator[Index | None]:
    def ask() -> tuple[Index | None, str]:
        request = Request(verb="GET", url=url, headers={"Accept": IMAGE_INDEX})
        with client.exchange.send(request) as response:
            if response.status in _NO_API:
                return None, ""
            client.exchange.expect(response, "GET", HTTPStatus.OK)
            following = _NEXT.search(response.headers.get("Link", ""))
            return Index(response.read(MANIFEST_LIMIT)), following[1] if following else ""

    while url:
        page, link = client.retry(ask)
        yield page
        url = client.exchange.location(link) if link else ""


def _tag(subject: Digest) -> str:
    return f"sha256-{subject.hex}"


def _under_tag(client: RegistryClient, subject: Digest) -> Document | None:
    try:
        found = client.fetch_manifest(_tag(subject))
    except NotThere:
        return None
    return found if found.descriptor.media_type in INDEX_TYPES else None


def _list_under_tag(client: RegistryClient, subject: Digest, entry: Descriptor) -> None:
    """Add an entry, and look afterwards: who wrote at the same time may have written over it."""
    patience, tag = client.retry.patience(), _tag(subject)
    while True:
        known = _under_tag(client, subject)
        if known and entry.digest in {one.digest for one in Index(known.raw).manifests}:
            return
        value = parse_object(known.raw, f"the index {tag}") if known else _EMPTY_INDEX
        raw = canonical_json({**value, "manifests": [*value["manifests"], entry.to_json()]})
        client.put_manifest(Document(descriptor=Descriptor.of(raw, IMAGE_INDEX), raw=raw), tag)
        if entry.digest not in {one.digest for one in Index(client.fetch_manifest(tag).raw).manifests}:
            patience.endure(ReferrersContended(tag=tag, repository=client.exchange.repository, temporary=True))


_EMPTY_INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}


def _entry(document: Document) -> Descriptor:
    """How the list names an artifact: with its type and its annotations."""
    named = Index(document.raw) if document.descriptor.media_type in INDEX_TYPES else Manifest(document.raw)
    return replace(document.descriptor, artifact_type=named.artifact_type, annotations=named.annotations)
