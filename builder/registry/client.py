"""One repository of one registry: blobs and manifests over HTTP (distribution-spec v1.1.1, end-2 to end-13).

Every method either does what it says, or raises; what is read is verified. Calls are tried again where their error is
temporary; uploads and downloads then go on where they were cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus

from builder.errors import MbuildError
from builder.host import Host
from builder.host.http import Request, Response, without
from builder.host.store import Store, WrongDigest
from builder.oci.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import Blob
from builder.oci.manifest import Document
from builder.oci.reference import PinnedReference, Reference
from builder.oci.verify import MOST_JSON, TooLarge, WrongBytes, verified_chunks
from builder.registry.auth import Authorizer, Identity
from builder.registry.credentials import Purpose, find_credentials
from builder.registry.endpoint import find_endpoint, plain_registries
from builder.registry.errors import AccessDenied, DeletionRefused, RegistryRefused, unexpected
from builder.registry.exchange import Exchange
from builder.registry.retry import Retry
from builder.registry.upload import Session, Uploads

MANIFEST_LIMIT = 4 << 20
"""The largest manifest that a registry must take (distribution-spec, "Pushing Manifests")."""

_FORWARD = 1 << 20
"""So many bytes more are progress, and renew the patience."""

_SPAN = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


def connect(
    reference: Reference | PinnedReference, purpose: Purpose, host: Host, *, also_pull: tuple[str, ...] = ()
) -> RegistryClient:
    """The client for a reference's repository. ``also_pull``: other repositories there, to mount blobs from."""
    repository = reference.repository
    scopes = [f"repository:{repository}:{purpose.value}"] + [f"repository:{name}:pull" for name in also_pull]
    return _connected(reference.registry, repository, purpose, tuple(scopes), host)


def connect_whole(registry: str, host: Host) -> RegistryClient:
    """The client for what is asked of a registry as a whole: which repositories it has."""
    return _connected(registry, "", Purpose.PULL, ("registry:catalog:*",), host)


def _connected(registry: str, repository: str, purpose: Purpose, scopes: tuple[str, ...], host: Host) -> RegistryClient:
    retry = Retry(host.clock, host.events)
    endpoint = retry(lambda: find_endpoint(registry, host.http, plain_registries(host.environ)))
    credentials = find_credentials(registry, purpose, host)
    identity = Identity(
        registry=registry,
        repository=repository,
        credentials=credentials,
        scopes=scopes,
        plain_origin=endpoint.origin if endpoint.origin.startswith("http://") else "",
    )
    authorizer = Authorizer(identity, host.http, host.clock)
    return RegistryClient(Exchange(endpoint, repository, authorizer, host.http), retry)


class RegistryClient:
    """See the module. Safe to use from several threads."""

    def __init__(self, exchange: Exchange, retry: Retry) -> None:
        self.exchange = exchange
        self.retry = retry
        self._uploads = Uploads(exchange, retry)

    # blobs

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether it is there, in the size that is described."""
        return self.retry(lambda: self._uploads.has(descriptor))

    def mount_blob(self, digest: Digest, source: str) -> Session | None:
        """Take a blob over from another repository of the registry. None: done; else the upload that was opened."""
        return self._uploads.mount(digest, source)

    def upload_blob(self, blob: Blob, session: Session | None, report: Callable[[int], None]) -> None:
        """See ``Uploads.upload``."""
        self._uploads.upload(blob, session, report)

    def read_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The whole blob. Raises WrongBytes as soon as it cannot be the blob, at the latest at its end."""
        return verified_chunks(self.read_blob_from(descriptor, 0), descriptor)

    def read_blob_from(self, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, not verified but for their number; a cut is gone on from where it was."""
        if 0 < descriptor.size <= start:
            return
        position, reached, patience = start, start, self.retry.patience()
        while True:
            try:
                for chunk in self._get_blob(descriptor, position):
                    position += len(chunk)
                    if position > descriptor.size:
                        raise WrongBytes(digest=descriptor.digest, difference=f"there are more than {descriptor.size}")
                    yield chunk
                return
            except MbuildError as error:
                if position >= reached + _FORWARD:
                    reached = position
                    patience.renew()
                patience.endure(error)

    def _get_blob(self, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        """One GET (RFC 9110, 14.2). Who knows no ranges sends everything, of which the beginning is left out."""
        span = {"Range": f"bytes={start}-"} if start else {}
        request = Request(verb="GET", url=self.exchange.url("blobs", str(descriptor.digest)), headers=span)
        with self.exchange.send(request) as response:
            if start and response.status == HTTPStatus.PARTIAL_CONTENT:
                self._require_start(response, start)
                yield from response.chunks()
                return
            if not start or response.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                self.exchange.expect(response, "GET", HTTPStatus.OK, what=f"blob {descriptor.digest}")
                yield from without(response.chunks(), start)
                return
        with self.exchange.send(replace(request, headers={})) as response:
            self.exchange.expect(response, "GET", HTTPStatus.OK, what=f"blob {descriptor.digest}")
            yield from without(response.chunks(), start)

    def _require_start(self, response: Response, start: int) -> None:
        found = _SPAN.fullmatch(response.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != start:
            said = response.headers.get("Content-Range", "no range at all")
            raise unexpected(response, "GET", f"it was asked for what follows byte {start}, and sent {said}")

    def fetch_blob(self, descriptor: Descriptor) -> bytes:
        """A small blob (a config) as a whole; raises TooLarge before it reads a large one."""
        if descriptor.size > MOST_JSON:
            raise TooLarge(what=f"the blob {descriptor.digest}", limit=MOST_JSON)
        return b"".join(self.read_blob(descriptor))

    def store_blob(self, descriptor: Descriptor, store: Store, report: Callable[[int], None]) -> None:
        """A blob of any size into the store; what an earlier try left of it is not fetched again."""

        def read(start: int) -> Iterator[bytes]:
            position = start
            for chunk in self.read_blob_from(descriptor, start):
                position += len(chunk)
                report(position)
                yield chunk

        store.fetch_blob(descriptor, read)

    # manifests

    def manifest_digest(self, name: str) -> Digest | None:
        """What a tag (or digest) points to, by HEAD; None where there is nothing, or the registry does not say."""

        def ask() -> Digest | None:
            request = Request(verb="HEAD", url=self.exchange.url("manifests", name), headers=_ACCEPT)
            with self.exchange.send(request) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    return None
                self.exchange.expect(response, "HEAD", HTTPStatus.OK)
                text = response.headers.get("Docker-Content-Digest")
                return Digest(text) if text else None

        return self.retry(ask)

    def document(self, descriptor: Descriptor) -> Document:
        """A manifest or index that another one names."""
        return self.fetch_manifest(str(descriptor.digest))

    def fetch_manifest(self, name: str) -> Document:
        """The manifest or index of a tag or digest. Raises NotThere; WrongDigest when it is not the one asked for."""

        def ask() -> Document:
            request = Request(verb="GET", url=self.exchange.url("manifests", name), headers=_ACCEPT)
            with self.exchange.send(request) as response:
                what = f"manifest {name}" if ":" in name else f"tag {name}"
                self.exchange.expect(response, "GET", HTTPStatus.OK, what=what)
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
                if media_type not in MANIFEST_TYPES + INDEX_TYPES:
                    raise unexpected(response, "GET", f"{media_type or 'nothing'} is not the type of an image")
                raw = response.read(MANIFEST_LIMIT)
                promised = response.headers.get("Docker-Content-Digest")
            descriptor = Descriptor.of(raw, media_type)
            for digest in (name if ":" in name else None, promised):
                if digest:
                    self._verify(descriptor.digest, Digest(digest), f"the manifest {name}")
            return Document(descriptor=descriptor, raw=raw)

        return self.retry(ask)

    def put_manifest(self, document: Document, name: str) -> None:
        """Store a manifest or index under a tag or its digest. Raises WrongDigest if the registry stored another."""
        headers = {"Content-Type": document.descriptor.media_type}
        url = self.exchange.url("manifests", name)

        def put() -> None:
            request = Request(verb="PUT", url=url, headers=headers, body=document.raw, allow_redirects=False)
            with self.exchange.send(request) as response:
                self.exchange.expect(response, "PUT", HTTPStatus.CREATED)
                stored = response.headers.get("Docker-Content-Digest")
            if stored:
                what = f"the manifest {name} as the registry stored it"
                self._verify(Digest(stored), document.descriptor.digest, what)

        self.retry(put)

    def delete_manifest(self, name: str) -> None:
        """Take a tag away, or a manifest with what points to it. Raises NotThere, and DeletionRefused where the
        registry does not do that, for us or for anybody (distribution-spec, "Content Management")."""

        def delete() -> None:
            request = Request(verb="DELETE", url=self.exchange.url("manifests", name), allow_redirects=False)
            with self.exchange.send(request) as response:
                what = f"manifest {name}" if ":" in name else f"tag {name}"
                self.exchange.expect(response, "DELETE", *_DELETED, what=what)

        try:
            self.retry(delete)
        except (AccessDenied, RegistryRefused) as error:
            if isinstance(error, RegistryRefused) and error.facts["status"] not in _NO_DELETION:
                raise
            where = {"registry": self.exchange.registry, "repository": self.exchange.repository}
            raise DeletionRefused(**{**error.facts, **where}) from error

    def _verify(self, actual: Digest, expected: Digest, what: str) -> None:
        if actual != expected:
            raise WrongDigest(what=f"{what} from {self.exchange.registry}", actual=actual, expected=expected)


_DELETED = (HTTPStatus.ACCEPTED, HTTPStatus.OK, HTTPStatus.NO_CONTENT)
_NO_DELETION = (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_ACCEPT = {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)}
