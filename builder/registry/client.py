"""One repository of one registry: blobs and manifests over HTTP (distribution-spec v1.1.1, end-2 to end-11).

Every method either does what it says, or raises; what is read is verified. Calls are tried again where their error is
temporary; an upload starts from its beginning (its source is opened anew).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode, urljoin, urlsplit

from builder.errors import RegistryError
from builder.host import Host
from builder.host.http import Http, Request, Response, redacted
from builder.host.store import Store, WrongDigest
from builder.oci.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.reference import PinnedReference, Reference
from builder.oci.verify import MOST_JSON, TooLarge, verified_chunks
from builder.registry.auth import Authorizer, Identity
from builder.registry.credentials import Purpose, Secret, find_credentials
from builder.registry.endpoint import Endpoint, find_endpoint
from builder.registry.errors import AccessDenied, NotThere, oci_errors, refusal, unexpected
from builder.registry.retry import Retry

MANIFEST_LIMIT = 4 << 20
"""The largest manifest that a registry must take (distribution-spec, "Pushing Manifests")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchedManifest:
    """A manifest or an index as it is stored; ``raw`` has the digest in ``descriptor``."""

    descriptor: Descriptor
    raw: bytes


def connect(
    reference: Reference | PinnedReference, purpose: Purpose, host: Host, *, also_pull: tuple[str, ...] = ()
) -> RegistryClient:
    """The client for a reference's repository. ``also_pull``: other repositories there, to mount blobs from."""
    registry, repository = reference.registry, reference.repository
    retry = Retry(host.clock)
    endpoint = retry(lambda: find_endpoint(registry, host.http))
    scopes = [f"repository:{repository}:{purpose.value}"] + [f"repository:{name}:pull" for name in also_pull]
    credentials = find_credentials(registry, purpose, host)
    identity = Identity(registry=registry, repository=repository, credentials=credentials, scopes=tuple(scopes))
    return RegistryClient(endpoint, repository, Authorizer(identity, host.http), host.http, retry)


class RegistryClient:
    """See the module. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, repository: str, authorizer: Authorizer, http: Http, retry: Retry) -> None:
        self.endpoint = endpoint
        self.repository = repository
        self._authorizer = authorizer
        self._http = http
        self._retry = retry

    # blobs

    def has_blob(self, descriptor: Descriptor) -> bool:
        """HEAD. A blob of another size than described counts as not there, so that it is uploaded again."""

        def ask() -> bool:
            with self._send(Request(verb="HEAD", url=self._url("blobs", str(descriptor.digest)))) as response:
                if response.status == 404:
                    return False
                self._expect(response, "HEAD", 200)
                return response.headers.get("Content-Length", str(descriptor.size)) == str(descriptor.size)

        return self._retry(ask)

    def mount_blob(self, digest: Digest, source: str) -> bool:
        """Take a blob over from another repository of the registry; False where it does not do that for us."""

        def ask() -> bool:
            url = self._url("blobs", "uploads", "") + "?" + urlencode({"mount": str(digest), "from": source})
            with self._send(_post(url)) as response:
                mounted, location = response.status == 201, response.headers.get("Location", "")
                begun = response.status == 202 and bool(location)
            if begun:  # the registry opened an upload instead: give it back
                self._send(Request(verb="DELETE", url=self._location(location), allow_redirects=False)).close()
            return mounted

        try:
            return self._retry(ask)
        except AccessDenied:
            return False

    def upload_blob(self, descriptor: Descriptor, read: Callable[[], Iterable[bytes]]) -> None:
        """POST, then one PUT with the whole body. ``read`` opens the bytes, once for each try."""

        def upload() -> None:
            with self._send(_post(self._url("blobs", "uploads", ""))) as response:
                self._expect(response, "POST", 202)
                location = response.headers.get("Location")
                if not location:
                    raise unexpected(response, "POST", "it opened an upload and did not say where (no Location)")
            url = self._location(location)
            url += ("&" if urlsplit(url).query else "?") + urlencode({"digest": str(descriptor.digest)})
            with self._send(_put(url, "application/octet-stream", descriptor.size), read) as response:
                self._expect(response, "PUT", 201)

        self._retry(upload)

    def read_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """GET, one try. Raises WrongBytes as soon as it cannot be the blob, at the latest at its end."""
        with self._send(Request(verb="GET", url=self._url("blobs", str(descriptor.digest)))) as response:
            self._expect(response, "GET", 200, what=f"blob {descriptor.digest}")
            yield from verified_chunks(response.chunks(), descriptor)

    def fetch_blob(self, descriptor: Descriptor) -> bytes:
        """A small blob (a config) as a whole; raises TooLarge before it reads a large one."""
        if descriptor.size > MOST_JSON:
            raise TooLarge(what=f"the blob {descriptor.digest}", limit=MOST_JSON)
        return self._retry(lambda: b"".join(self.read_blob(descriptor)))

    def store_blob(self, descriptor: Descriptor, store: Store) -> None:
        """A blob of any size into the store."""
        self._retry(lambda: store.put_blob(self.read_blob(descriptor), expected=descriptor.digest))

    # manifests

    def manifest_digest(self, name: str) -> Digest | None:
        """What a tag (or digest) points to, by HEAD; None where there is nothing, or the registry does not say."""

        def ask() -> Digest | None:
            request = Request(verb="HEAD", url=self._url("manifests", name), headers=_ACCEPT)
            with self._send(request) as response:
                if response.status == 404:
                    return None
                self._expect(response, "HEAD", 200)
                text = response.headers.get("Docker-Content-Digest")
                return Digest(text) if text else None

        return self._retry(ask)

    def fetch_manifest(self, name: str) -> FetchedManifest:
        """The manifest or index of a tag or digest. Raises NotThere; WrongDigest when it is not the one asked for."""

        def ask() -> FetchedManifest:
            request = Request(verb="GET", url=self._url("manifests", name), headers=_ACCEPT)
            with self._send(request) as response:
                self._expect(response, "GET", 200, what=f"manifest {name}" if ":" in name else f"tag {name}")
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
                if media_type not in MANIFEST_TYPES + INDEX_TYPES:
                    raise unexpected(response, "GET", f"{media_type or 'nothing'} is not the type of an image")
                raw = response.read(MANIFEST_LIMIT)
                promised = response.headers.get("Docker-Content-Digest")
            descriptor = Descriptor.of(raw, media_type)
            for digest in (name if ":" in name else None, promised):
                if digest:
                    self._verify(descriptor.digest, Digest(digest), f"the manifest {name}")
            return FetchedManifest(descriptor=descriptor, raw=raw)

        return self._retry(ask)

    def put_manifest(self, raw: bytes, media_type: str, name: str) -> None:
        """Store a manifest or index under a tag or its digest. Raises WrongDigest if the registry stored another."""

        def put() -> None:
            request = replace(_put(self._url("manifests", name), media_type, len(raw)), body=raw, length=None)
            with self._send(request) as response:
                self._expect(response, "PUT", 201)
                stored = response.headers.get("Docker-Content-Digest")
            if stored:
                self._verify(Digest(stored), Digest.of(raw), f"the manifest {name} as the registry stored it")

        self._retry(put)

    # one exchange

    def _send(self, request: Request, read: Callable[[], Iterable[bytes]] | None = None) -> Response:
        """Send with our Authorization; renew it once at a 401. ``read`` opens the body for each sending."""
        sent = self._authorizer.header
        response = self._http.send(self._signed(request, sent, read))
        if response.status == 401:
            response.close()
            sent = self._authorizer.renew(response.headers.get("WWW-Authenticate", ""), sent)
            response = self._http.send(self._signed(request, sent, read))
        if response.status in (401, 403):
            raise self._denied(response, request.verb)
        return response

    def _signed(self, request: Request, header: Secret | None, read: Callable[[], Iterable[bytes]] | None) -> Request:
        """The Authorization goes to the registry's own origin and nowhere else."""
        headers = dict(request.headers)
        parts = urlsplit(request.url)
        if header and f"{parts.scheme}://{parts.netloc}" == self.endpoint.origin:
            headers["Authorization"] = header.reveal()
        return replace(request, headers=headers, body=read() if read else request.body)

    def _denied(self, response: Response, verb: str) -> RegistryError:
        with response:
            said = "; ".join(f"{code} {message}" for code, message in oci_errors(response.read(64 << 10)))
        reason = f"status {response.status}" + (f" ({said})" if said else "")
        return self._authorizer.denied(verb, response.url, response.status, reason)

    def _expect(self, response: Response, verb: str, status: int, *, what: str = "such repository") -> None:
        if response.status == status:
            return
        if response.status == 404:
            raise NotThere(
                registry=self.endpoint.registry,
                repository=self.repository,
                what=what,
                verb=verb,
                url=redacted(response.url),
                status=404,
                oci_codes=tuple(code for code, _ in oci_errors(response.read(64 << 10))),
            )
        raise refusal(response, verb)

    def _verify(self, actual: Digest, expected: Digest, what: str) -> None:
        if actual != expected:
            raise WrongDigest(what=f"{what} from {self.endpoint.registry}", actual=actual, expected=expected)

    def _url(self, *parts: str) -> str:
        path = "/".join(quote(part, safe=":") for part in parts)
        return f"{self.endpoint.origin}/v2/{self.repository}/{path}"

    def _location(self, location: str) -> str:
        """Where an upload goes on. A registry behind a proxy may think that it speaks http: its own host keeps TLS."""
        url = urljoin(f"{self.endpoint.origin}/", location)
        parts, own = urlsplit(url), urlsplit(self.endpoint.origin)
        return parts._replace(scheme=own.scheme).geturl() if parts.netloc == own.netloc else url


_ACCEPT = {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)}


def _post(url: str) -> Request:
    return Request(verb="POST", url=url, body=b"", allow_redirects=False)


def _put(url: str, media_type: str, length: int) -> Request:
    headers = {"Content-Type": media_type}
    return Request(verb="PUT", url=url, headers=headers, length=length, timeout=600.0, allow_redirects=False)
