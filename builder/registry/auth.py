"""Answers a registry's 401: Basic (RFC 7617), or Bearer with a token from the realm it names (distribution's token
specification; OAuth2 refresh for identity tokens). A password never goes to a realm without TLS on another machine."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from builder.errors import RegistryError
from builder.host.clock import Clock
from builder.host.http import Http, Request, redacted
from builder.host.proxy import is_loopback
from builder.registry.credentials import Credentials, Secret
from builder.registry.errors import AccessDenied, CredentialsMissing, WrongCredentials, refusal, unexpected

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 token, no secret
_PART = re.compile(
    rf'(?P<key>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))|(?P<scheme>{_TOKEN})'
)


_TOKEN_SECONDS, _SAFE_PART = 60.0, 0.9
"""How long a token is good where nothing is said (distribution's token specification), and how much of that is used."""


class InsecureRealm(RegistryError):
    code = "insecure-realm"
    message = "the registry {registry} asks for the password at {url}, which is not TLS"
    hint = "tell its owner: the token service must be reached by https"


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """One challenge of WWW-Authenticate; ``scheme`` and the names of ``parameters`` in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Read WWW-Authenticate (RFC 9110, 11.6.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for part in _PART.finditer(header):
        if part["scheme"]:
            found.append((part["scheme"].lower(), {}))
        elif found:
            value = re.sub(r"\\(.)", r"\1", part["quoted"]) if part["quoted"] is not None else part["bare"]
            found[-1][1][part["key"].lower()] = value
    return tuple(Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who asks whom for what: the repository's registry, our credentials and the scopes that the work needs.
    ``plain_origin`` is set where the user lets the registry be spoken to in the clear."""

    registry: str
    repository: str
    credentials: Credentials | None
    scopes: tuple[str, ...]
    plain_origin: str = ""


class Authorizer:
    """Holds the Authorization header for one repository and renews it when the registry says 401, or, of a token, when
    its time is over: a large body is not sent only to be refused. Thread-safe."""

    def __init__(self, identity: Identity, http: Http, clock: Clock) -> None:
        self._identity = identity
        self._http = http
        self._clock = clock
        self._header: Secret | None = None
        self._challenge: Challenge | None = None
        self._expires = 0.0
        self._lock = threading.Lock()

    @property
    def header(self) -> Secret | None:
        """What to send now; None: nobody asked yet. Raises what ``renew`` does."""
        with self._lock:
            if self._challenge and self._clock.monotonic() >= self._expires:
                self._header = self._bearer(self._challenge)
            return self._header

    def renew(self, challenge: str, sent: Secret | None) -> Secret:
        """A header other than ``sent``, which got a 401. Raises WrongCredentials, CredentialsMissing, RegistryError."""
        with self._lock:
            if self._header is None or self._header == sent:
                self._header = self._answer(parse_challenges(challenge), sent)
            return self._header

    def denied(self, verb: str, url: str, status: int, reason: str) -> RegistryError:
        """The error for an answer of 401 or 403 to a request with a fresh header."""
        who, credentials = self._identity, self._identity.credentials
        facts = {"verb": verb, "url": redacted(url), "status": status, "oci_codes": ()}
        if credentials is None:
            return CredentialsMissing(registry=who.registry, repository=who.repository, **facts)
        if status == 401 and self._header == Secret(credentials.basic):
            return self._wrong(credentials)
        return AccessDenied(
            registry=who.registry,
            repository=who.repository,
            user=credentials.user or "the signed-in user",
            reason=reason,
            **facts,
        )

    def _answer(self, challenges: tuple[Challenge, ...], sent: Secret | None) -> Secret:
        by_scheme = {challenge.scheme: challenge for challenge in challenges}
        if "bearer" in by_scheme:
            return self._bearer(by_scheme["bearer"])
        credentials = self._identity.credentials
        if credentials is None or not credentials.user:
            raise self._missing()
        header = Secret(credentials.basic)
        if header == sent:
            raise self._wrong(credentials)
        return header

    def _bearer(self, challenge: Challenge) -> Secret:
        """A new token. Its time begins before it is asked for, and ends a little early."""
        asked_at = self._clock.monotonic()
        realm = challenge.parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not self._in_the_clear(parts):
            raise InsecureRealm(registry=self._identity.registry, url=redacted(realm), verb="GET", status=401)
        asked = challenge.parameters.get("scope", "").split()
        scopes = tuple(dict.fromkeys([*self._identity.scopes, *asked]))
        request = self._token_request(realm, challenge.parameters.get("service", ""), scopes)
        with self._http.send(request) as response:
            if response.status in (401, 403):
                credentials = self._identity.credentials
                raise self._wrong(credentials) if credentials else self._missing()
            if response.status != 200:
                raise refusal(response, request.verb)
            try:
                answer = json.loads(response.read(1 << 20))
                token = answer.get("token") or answer["access_token"]
                seconds = float(answer.get("expires_in") or _TOKEN_SECONDS)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise unexpected(response, request.verb, "the token service gave no token") from error
        self._challenge, self._expires = challenge, asked_at + seconds * _SAFE_PART
        return Secret(f"Bearer {token}")

    def _in_the_clear(self, realm: SplitResult) -> bool:
        """This machine, or the very host of a registry that the user allows to be spoken to so."""
        return is_loopback(realm.hostname or "") or f"http://{realm.netloc}" == self._identity.plain_origin

    def _token_request(self, realm: str, service: str, scopes: tuple[str, ...]) -> Request:
        credentials = self._identity.credentials
        if credentials and not credentials.user:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "mbuild",
                "scope": " ".join(scopes),
                "refresh_token": credentials.secret.reveal(),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request(
                verb="POST", url=realm, headers=headers, body=urlencode(form).encode(), allow_redirects=False
            )
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if credentials:
            query.append(("account", credentials.user))
        headers = {"Authorization": credentials.basic} if credentials else {}
        joint = "&" if urlsplit(realm).query else "?"
        return Request(verb="GET", url=f"{realm}{joint}{urlencode(query)}", headers=headers)

    def _missing(self) -> CredentialsMissing:
        who = self._identity
        return CredentialsMissing(registry=who.registry, repository=who.repository, status=401, oci_codes=())

    def _wrong(self, credentials: Credentials) -> WrongCredentials:
        return WrongCredentials(
            registry=self._identity.registry,
            user=credentials.user or "the signed-in user",
            source=credentials.source,
            status=401,
            oci_codes=(),
        )
