"""One request and its answer within one repository: where it goes, who we are, and what a refusal means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote, urljoin, urlsplit

from builder.errors import RegistryError
from builder.host.http import Http, Request, Response
from builder.registry.auth import Authorizer
from builder.registry.credentials import Secret
from builder.registry.endpoint import Endpoint
from builder.registry.errors import NotThere, oci_errors, refusal


class Exchange:
    """Sends requests for one repository. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, repository: str, authorizer: Authorizer, http: Http) -> None:
        self.registry, self.origin = endpoint.registry, endpoint.origin
        self.repository = repository
        self._authorizer = authorizer
        self._http = http

    def send(self, request: Request, read: Callable[[], Iterable[bytes]] | None = None) -> Response:
        """Send with our Authorization; renew it once at a 401. ``read`` opens the body for each sending."""
        sent = self._authorizer.header
        response = self._http.send(self._signed(request, sent, read))
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.close()
            sent = self._authorizer.renew(response.headers.get("WWW-Authenticate", ""), sent)
            response = self._http.send(self._signed(request, sent, read))
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._denied(response, request.verb)
        return response

    def expect(self, response: Response, verb: str, *statuses: int, what: str = "such repository") -> None:
        """Raises NotThere for a 404, and for every other status that is not one of ``statuses`` what it means."""
        if response.status in statuses:
            return
        refused = refusal(response, verb)
        if response.status != HTTPStatus.NOT_FOUND:
            raise refused
        raise NotThere(**refused.facts, registry=self.registry, repository=self.repository, what=what)

    def url(self, *parts: str) -> str:
        path = "/".join(quote(part, safe=":") for part in parts)
        return f"{self.origin}/v2/{self.repository}/{path}"

    def location(self, location: str) -> str:
        """Where it goes on. A registry behind a proxy may think that it speaks http: its own host keeps TLS."""
        url = urljoin(f"{self.origin}/", location)
        parts, own = urlsplit(url), urlsplit(self.origin)
        return parts._replace(scheme=own.scheme).geturl() if parts.netloc == own.netloc else url

    def _signed(self, request: Request, header: Secret | None, read: Callable[[], Iterable[bytes]] | None) -> Request:
        """The Authorization goes to the registry's own origin and nowhere else."""
        headers = dict(request.headers)
        parts = urlsplit(request.url)
        if header and f"{parts.scheme}://{parts.netloc}" == self.origin:
            headers["Authorization"] = header.reveal()
        return replace(request, headers=headers, body=read() if read else request.body)

    def _denied(self, response: Response, verb: str) -> RegistryError:
        with response:
            said = "; ".join(f"{code} {message}" for code, message in oci_errors(response.read(64 << 10)))
        reason = f"status {response.status}" + (f" ({said})" if said else "")
        return self._authorizer.denied(verb, response.url, response.status, reason)


def post(url: str) -> Request:
    return Request(verb="POST", url=url, body=b"", allow_redirects=False)
