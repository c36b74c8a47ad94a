"""The one door for outgoing HTTP.

Proxies and certificates come from the environment (``http_session.py``), as users have them; credentials come only from
the caller, never from a netrc. A redirect to another host does not carry the Authorization header (requests drops it).
What the network does wrong becomes ``NetworkError``; a status is the caller's to judge.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from builder.errors import RegistryError
from builder.host.clock import Clock, SystemClock

if TYPE_CHECKING:
    import requests
    import urllib3.exceptions

    from builder.host.http_session import Session

CHUNK = 1 << 20
_PIECE = 64 << 10
_SHORT = 64 << 10
_SLOWEST = 1 << 10
"""Bytes a second over a request's whole timeout; who sends less has stalled."""


class NetworkError(RegistryError):
    code = "network"
    message = "{verb} {url} failed: {reason}"
    hint = "check the address, the proxy (HTTPS_PROXY, NO_PROXY) and that this machine may reach it"


class HostNotFound(NetworkError):
    code = "host-not-found"
    message = "{verb} {url} failed: there is no address for that host ({reason})"
    hint = "check the spelling of the host and that this machine has a network; behind a proxy, set HTTPS_PROXY"


class UntrustedCertificate(NetworkError):
    code = "untrusted-certificate"
    message = "{verb} {url} failed: the server's TLS certificate is not accepted: {reason}"
    hint = (
        "if a private CA signed it, name that CA's file in SSL_CERT_FILE or put it into "
        "~/.config/docker/certs.d/HOST:PORT/ca.crt"
    )


class ExpiredCertificate(NetworkError):
    code = "expired-certificate"
    message = "{verb} {url} failed: the server's TLS certificate is not valid today: {reason}"
    hint = "whoever runs the server must renew the certificate; also look at this machine's clock"


class TlsExpected(NetworkError):
    code = "tls-expected"
    message = "{verb} {url} failed: the server does not speak TLS ({reason})"
    hint = (
        "mbuild sends nothing in the clear to another machine: put TLS in front of the server, reach it on localhost, "
        "or, where the network is yours alone, say --plain-http or name the registry in MBUILD_PLAIN_HTTP"
    )


def redacted(url: str) -> str:
    """The URL without user, password and query, fit for a message."""
    parts = urlsplit(url)
    netloc = parts.hostname or ""
    if parts.port:
        netloc += f":{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def without(chunks: Iterable[bytes], left: int) -> Iterator[bytes]:
    """The chunks without their first ``left`` bytes: of an answer by who knows no ranges."""
    for chunk in chunks:
        if left < len(chunk):
            yield chunk[left:]
        left = max(0, left - len(chunk))


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

    def __init__(self, inner: requests.Response, request: Request, clock: Clock) -> None:
        self._inner = inner
        self._verb = request.verb
        self._timeout = request.timeout
        self._clock = clock
        self.status = inner.status_code
        self.headers: Mapping[str, str] = inner.headers
        self.url = inner.url

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 64 KiB, so that a cut costs no more; raises NetworkError when it is one, and
        when next to nothing comes any more."""
        import requests
        import urllib3.exceptions

        expected = self.headers.get("Content-Length")
        encoded = self.headers.get("Content-Encoding")
        seen = 0
        try:
            for chunk in self._arriving():
                seen += len(chunk)
                yield chunk
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _mapped(error, self._verb, self.url) from error
        if expected and expected.isdigit() and not encoded and self._verb != "HEAD" and seen != int(expected):
            reason = f"the body ended after {seen} of {expected} bytes"
            raise NetworkError(verb=self._verb, url=redacted(self.url), reason=reason, temporary=True)

    def _arriving(self) -> Iterator[bytes]:
        """What comes, as soon as it comes: whoever waits for a full piece cannot see that one byte a minute arrives."""
        begun, fresh = self._clock.monotonic(), 0
        while chunk := self._inner.raw.read1(_PIECE, decode_content=True):
            yield chunk
            fresh += len(chunk)
            if (now := self._clock.monotonic()) > begun + self._timeout:
                if fresh < _SLOWEST * self._timeout:
                    reason = f"only {fresh} bytes came in {now - begun:.0f} s"
                    raise NetworkError(verb=self._verb, url=redacted(self.url), reason=reason, temporary=True)
                begun, fresh = now, 0

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
        """Give the connection back; what is left of a short body is read, so that the next request can use it."""
        length = self.headers.get("Content-Length", "")
        if self._verb == "HEAD" or (length.isdigit() and int(length) <= _SHORT):
            self._inner.raw.drain_conn()
        self._inner.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Stream:
    """Chunks with a known length, so that requests sends Content-Length and not a chunked transfer."""

    def __init__(self, chunks: Iterable[bytes], length: int) -> None:
        self._chunks = iter(chunks)
        self._length = length
        self._rest = memoryview(b"")

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> memoryview | bytes:
        """At most ``size`` bytes, none at the end (a short piece is no end)."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        cut = len(self._rest) if size < 0 else size
        piece, self._rest = self._rest[:cut], self._rest[cut:]
        return piece


class Http:
    """Sends requests over pooled connections; safe to use from several threads."""

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._clock = clock or SystemClock()
        self._opened: Session | None = None
        self._opening = Lock()

    @property
    def _session(self) -> Session:
        """Opened by the first request: what speaks HTTP loads slowly, and a build from the cache sends none."""
        with self._opening:
            if self._opened is None:
                from builder.host.http_session import Session

                self._opened = Session(self._environ)
            return self._opened

    def send(self, request: Request) -> Response:
        """One exchange. Raises NetworkError (or one of its kinds above) when there is no answer."""
        import requests

        body: Any = request.body
        if body is not None and not isinstance(body, bytes) and request.length is not None:
            body = _Stream(body, request.length)
        try:
            inner = self._session.request(
                request.verb,
                request.url,
                headers=dict(request.headers),
                data=body,
                timeout=(min(request.timeout, 30.0), request.timeout),
                allow_redirects=request.allow_redirects,
                stream=True,
                proxies=self._session.proxies_for(request.url),
            )
        except requests.RequestException as error:
            raise _mapped(error, request.verb, request.url) from error
        return Response(inner, request, self._clock)


_EXPIRED = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (OpenSSL, x509_vfy.h)."""

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
"""What OpenSSL calls an answer that is no TLS record."""

_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)
"""A connection that ended in mid-word, under TLS or not."""


def _mapped(error: requests.RequestException | urllib3.exceptions.HTTPError, verb: str, url: str) -> NetworkError:
    import requests
    import urllib3.exceptions

    causes = tuple(_causes(error))
    reason = str(causes[-1]) or type(causes[-1]).__name__
    where = {"verb": verb, "url": redacted(url)}
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            kind = ExpiredCertificate if cause.verify_code in _EXPIRED else UntrustedCertificate
            return kind(**where, reason=cause.verify_message)
        if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
            return TlsExpected(**where, reason=cause.reason.lower().replace("_", " "))
        if type(cause).__name__ == "gaierror":
            return HostNotFound(**where, reason=getattr(cause, "strerror", None) or reason)
    passing = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)
    cut = any(isinstance(cause, _CUT) for cause in causes)
    temporary = cut or (isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError))
    return NetworkError(**where, reason=reason, temporary=temporary)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what brought it about, the innermost last."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        reason, first = getattr(cause, "reason", None), next(iter(cause.args), None)
        inner = [
            item for item in (reason, cause.__cause__, cause.__context__, first) if isinstance(item, BaseException)
        ]
        cause = inner[0] if inner else None
