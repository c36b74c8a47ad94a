"""The gate before the service: TLS, keys and origins, as far as they are set. Without any of them there is no gate.

Open without a key: health, which orchestrators ask for and which tells nothing, and the pages for people, which hold
nothing of the models and ask with the reader's key. Metrics tell about models and traffic: open only where a setting
says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..environment import SettingError
from ..http.answers import Refusal, Response
from ..http.connection import Connection, Connections, Exchange
from ..http.heads import Request
from ..observe.exposition import Family, counted, counter
from ..observe.logs import Log, Rarely
from ..settings import Settings
from .keys import SHORT, Keys, has_key
from .origins import Origins

if TYPE_CHECKING:
    from .certificates import Certificates

HEALTH = ("/v2/health/live", "/v2/health/ready")


class Gate:
    """Raises SettingError where a setting or a file of the three is wrong."""

    def __init__(self, settings: Settings, log: Log, pages: Collection[str]) -> None:
        self.refused = {"missing": 0, "wrong": 0}
        self.failed_handshakes = 0
        self._log = log
        self._rarely = {"key": Rarely(), "handshake": Rarely()}
        self._open = frozenset((*HEALTH, *pages, *(("/metrics",) if settings.metrics_open else ())))
        keys = settings.api_key or settings.api_key_file
        self._keys = Keys(settings.api_key, settings.api_key_file) if keys else None
        self._origins = Origins(settings.cors_origins) if settings.cors_origins else None
        self._certificates: Certificates | None = None
        if settings.tls_cert or settings.tls_key or settings.tls_client_ca:
            from .certificates import Certificates

            self._certificates = Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        if self._keys and self._keys.shortest < SHORT:
            log.event("warning", f"an API key has less than {SHORT} characters: it can be guessed")
        self._answer: Callable[[Exchange], None]

    def stand_before(self, connections: Connections) -> Callable[[], asyncio.BaseProtocol]:
        """Takes its place before the service; what makes a connection for each client."""
        self._answer, connections.answer = connections.answer, self.answer
        connections.admit = self.admit
        if self._origins:
            connections.dress = self._dress
        if self._certificates is None:
            return lambda: Connection(connections)
        from .tls import TlsConnection

        certificates = self._certificates
        return lambda: TlsConnection(self, certificates.context, connections)

    @property
    def is_open(self) -> Callable[[str], bool] | None:
        """Which paths need no key; None where no keys are set."""
        return self._open.__contains__ if self._keys else None

    def facts(self) -> dict[str, object]:
        """For the line in the log that says how this server listens."""
        tls = self._certificates
        return {
            "tls": "off" if tls is None else "mutual" if tls.mutual else "on",
            "keys": len(self._keys) if self._keys else 0,
        }

    def families(self) -> Iterator[Family]:
        """For /metrics."""
        about = "Requests refused because their API key was missing or wrong"
        yield counted("mbuild_auth_failures_total", about, "reason", self.refused)
        yield counter("mbuild_tls_handshake_failures_total", "TLS handshakes that failed", self.failed_handshakes)

    def tick(self) -> None:
        """Called about twice a second: takes files that have changed, and keeps what it has where they are wrong."""
        for what, each in (("API keys", self._keys), ("certificates", self._certificates)):
            try:
                if each is not None and each.reread():
                    self._log.event("info", f"{what} were read again")
            except SettingError as error:
                self._log.event("warning", f"{what} stay as they were: {error}")

    def answer(self, exchange: Exchange) -> None:
        request = exchange.request
        preflight = self._origins.preflight(request.method, request.headers) if self._origins else None
        if preflight is not None:
            exchange.reply(preflight)
            return
        refusal = self._refusal(exchange.connection, request)
        if refusal is None:
            self._answer(exchange)
            return
        exchange.is_last = self._certificates is not None and not exchange.connection.secure
        exchange.reply(refusal.response())

    def admit(self, connection: Connection, request: Request) -> None:
        """Nobody's body is read who would be refused. Raises Refusal."""
        refusal = self._refusal(connection, request)
        if refusal is not None:
            if self._origins:
                refusal.headers += self._origins.headers(request.headers)
            raise refusal

    def caller(self, request: Request) -> str | None:
        """The name of the key that came with a request."""
        return self._keys.name(request.headers) if self._keys else None

    def handshake_failed(self, reason: str, client: str) -> None:
        self.failed_handshakes += 1
        if more := self._rarely["handshake"].due():
            self._log.event("warning", f"TLS handshakes failed, the last one: {reason}", client=client, count=more)

    def _refusal(self, connection: Connection, request: Request) -> Refusal | None:
        path = request.target.partition("?")[0]
        if self._certificates is not None and not connection.secure:
            if path in HEALTH and connection.is_local:
                return None
            return Refusal(400, "this port speaks TLS: ask by https://")
        if self._keys is None or path in self._open or self._keys.name(request.headers) is not None:
            return None
        return self._unknown(connection, request)

    def _unknown(self, connection: Connection, request: Request) -> Refusal:
        wrong = has_key(request.headers)
        self.refused["wrong" if wrong else "missing"] += 1
        what = "the API key is not valid" if wrong else "an API key is needed"
        if more := self._rarely["key"].due():
            message = f"requests were refused, the last one because {what}"
            self._log.event("warning", message, client=connection.client, count=more)
        challenge = 'Bearer realm="mbuild"' + (', error="invalid_token"' if wrong else "")
        how = "send it as Authorization: Bearer KEY or as X-API-Key: KEY"
        return Refusal(401, f"{what}; {how}", headers=(("WWW-Authenticate", challenge),))

    def _dress(self, exchange: Exchange, response: Response) -> Response:
        assert self._origins is not None
        more = self._origins.headers(exchange.request.headers)
        present = {name for name, _ in response.headers}
        return replace(response, headers=(*response.headers, *(each for each in more if each[0] not in present)))
