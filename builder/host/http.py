"""The one door for outgoing HTTP.

Proxies and CA bundles come from the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, REQUESTS_CA_BUNDLE), as users
have them; credentials come only from the caller, never from a netrc. A redirect to another host does not carry the
Authorization header (requests drops it). What the network does wrong becomes ``NetworkError``; a status is the caller's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import requests

from builder import __version__
from builder.errors import RegistryError

CHUNK = 1 << 20


class NetworkError(RegistryError):
    code = "network"
    message = "{verb} {url} failed: {reason}"
    hint = "check the address, the proxy (HTTPS_PROXY, NO_PROXY) and that this machine may reach it"


class UntrustedCertificate(NetworkError):
    code = "untrusted-certificate"
    message = "{verb} {url} failed: the server's TLS certificate is not accepted: {reason}"
    hint = (
        "if the certificate has expired, its owner must renew it; if a private CA signed it, "
        "name that CA's file in SSL_CERT_FILE"
    )


def redacted(url: str) -> str:
    """The URL without user, password and query, fit for a message."""
    parts = urlsplit(url)
    netloc = parts.hostname or ""
    if parts.port:
        netloc += f":{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """``body`` is bytes or an iterator of chunks whose total is ``length`` bytes (None: chunked transfer)."""

    verb: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] | None = None
    length: int | None = None
    timeout: float = 60.0
    allow_redirects: bool = True


class Response:
    """A status, headers (case-insensitive) and a body that is read once, as a whole or in chunks."""

    def __init__(self, inner: requests.Response, verb: str) -> None:
        self._inner = inner
        self._verb = verb
        self.status = inner.status_code
        self.headers: Mapping[str, str] = inner.headers
        self.url = inner.url

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB; raises NetworkError when it is cut short."""
        expected = self.headers.get("Content-Length")
        encoded = self.headers.get("Content-Encoding")
        seen = 0
        try:
            for chunk in self._inner.iter_content(CHUNK):
                seen += len(chunk)
                yield chunk
        except requests.RequestException as error:
            raise _mapped(error, self._verb, self.url) from error
        if expected and not encoded and self._verb != "HEAD" and seen != int(expected):
            reason = f"the body ended after {seen} of {expected} bytes"
            raise NetworkError(verb=self._verb, url=redacted(self.url), reason=reason, temporary=True)

    def read(self, limit: int = 64 << 20) -> bytes:
        """The whole body, at most ``limit`` bytes (more raises NetworkError)."""
        content = bytearray()
        for chunk in self.chunks():
            content += chunk
            if len(content) > limit:
                reason = f"the body is larger than {limit} bytes"
                raise NetworkError(verb=self._verb, url=redacted(self.url), reason=reason)
        return bytes(content)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _NoAuth(requests.auth.AuthBase):
    """Keeps requests from looking into a netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Stream:
    """An iterator of chunks with a known length, so that requests sends Content-Length, not chunked transfer."""

    def __init__(self, chunks: Iterable[bytes], length: int) -> None:
        self._chunks = iter(chunks)
        self._length = length
        self._rest = b""

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        cut = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:cut], self._rest[cut:]
        return piece


class Http:
    """Sends requests over pooled connections."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"mbuild/{__version__}"
        self._session.headers["Accept-Encoding"] = "identity"
        bundle = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE")
        self._verify: bool | str = bundle or True

    def send(self, request: Request) -> Response:
        """One exchange. Raises NetworkError (or UntrustedCertificate) when there is no answer."""
        body: bytes | Iterable[bytes] | IO[bytes] | None = request.body
        if body is not None and not isinstance(body, bytes) and request.length is not None:
            body = _Stream(body, request.length)  # type: ignore[assignment]
        try:
            inner = self._session.request(
                request.verb,
                request.url,
                headers=dict(request.headers),
                data=body,
                timeout=(min(request.timeout, 30.0), request.timeout),
                allow_redirects=request.allow_redirects,
                stream=True,
                auth=_NoAuth(),
                verify=self._verify,
            )
        except requests.RequestException as error:
            raise _mapped(error, request.verb, request.url) from error
        return Response(inner, request.verb)


def _mapped(error: requests.RequestException, verb: str, url: str) -> NetworkError:
    if isinstance(error, requests.exceptions.SSLError):
        return UntrustedCertificate(verb=verb, url=redacted(url), reason=_root_cause(error))
    temporary = isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
    )
    return NetworkError(verb=verb, url=redacted(url), reason=_root_cause(error), temporary=temporary)


def _root_cause(error: BaseException) -> str:
    """The innermost sentence of a nest of library exceptions."""
    cause: BaseException = error
    while True:
        reason = getattr(cause, "reason", None)
        inner = reason if isinstance(reason, BaseException) else cause.__cause__ or cause.__context__
        if inner is None and cause.args and isinstance(cause.args[0], BaseException):
            inner = cause.args[0]
        if inner is None or inner is cause:
            return str(cause) or type(cause).__name__
        cause = inner
