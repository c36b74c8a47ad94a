"""What a registry's answer means (distribution-spec "Error Codes"). Facts of each: verb, url (redacted), status,
oci_codes, temporary. The retry policy reads ``temporary`` and, for how long to wait, ``retry_after`` (seconds);
``named`` has the digests that the answer speaks of."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from builder.errors import RegistryError
from builder.host.clock import seconds_of_date
from builder.host.http import Response, redacted

_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_BODY_LIMIT = 64 << 10
_DIGEST = re.compile("sha256:[0-9a-f]{64}")


class RegistryRefused(RegistryError):
    code = "registry-refused"
    message = "the registry refused {verb} {url}: {reason}"
    hint = "the registry's own log says why; `mbuild push LAYOUT REF` tries again without a build"


class RegistryBusy(RegistryError):
    code = "registry-busy"
    message = "the registry cannot answer {verb} {url} now: {reason}"
    hint = "try again in a while; what has been uploaded is kept and will be skipped"


class AccessDenied(RegistryError):
    code = "access-denied"
    message = (
        "the registry {registry} does not allow {user} this on the repository {repository}: {verb} {url}: {reason}"
    )
    hint = "ask its owner for the right, use another repository, or sign in as somebody else: `docker login {registry}`"


class WrongCredentials(RegistryError):
    code = "wrong-credentials"
    message = "the registry {registry} does not accept the password of {user} (from {source})"
    hint = "`docker login {registry}`, or set MBUILD_REGISTRY_USERNAME and MBUILD_REGISTRY_PASSWORD"


class CredentialsMissing(RegistryError):
    code = "credentials-missing"
    message = "the registry {registry} wants a user and a password for {repository}, and there are none"
    hint = (
        "`docker login {registry}`, or set MBUILD_REGISTRY_USERNAME and MBUILD_REGISTRY_PASSWORD "
        "(to pull, also MBUILD_REGISTRY={registry})"
    )


class NotThere(RegistryError):
    code = "not-in-registry"
    message = "the registry {registry} has no {what} in {repository}"
    hint = "check the name and the tag; some registries say this of a private repository too: `docker login {registry}`"


class DeletionRefused(RegistryError):
    code = "deletion-refused"
    message = "the registry {registry} removes nothing from the repository {repository} for us: {reason}"
    hint = (
        "distribution's registry needs REGISTRY_STORAGE_DELETE_ENABLED=true, others a right to delete for this user; "
        "GHCR, ECR and Docker Hub remove images by their web pages and by APIs of their own"
    )


class UnexpectedAnswer(RegistryError):
    code = "unexpected-answer"
    message = "the answer to {verb} {url} is not one of a registry: {reason}"
    hint = "check that the address is that of a registry (distribution-spec v1.1) and not of a login page or a proxy"


def oci_errors(body: bytes) -> tuple[tuple[str, str], ...]:
    """(code, message) of each error in a body of the spec's form; empty for any other body."""
    try:
        listed = json.loads(body)["errors"]
        return tuple((str(item.get("code", "")), str(item.get("message", ""))) for item in listed)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def refusal(response: Response, verb: str) -> RegistryRefused | RegistryBusy:
    """The error for an answer that is no success (401, 403 and 404 are the client's to tell apart)."""
    try:
        body = response.read(_BODY_LIMIT)
    except RegistryError:
        body = b""
    errors = oci_errors(body)
    said = "; ".join(f"{code} {message}".strip() for code, message in errors)
    status = response.status
    busy = status in _BUSY or (status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED)
    kind = RegistryBusy if busy else RegistryRefused
    wait = asked_wait(response.headers.get("Retry-After", ""), response.headers.get("Date", "")) if busy else None
    return kind(
        verb=verb,
        url=redacted(response.url),
        status=status,
        oci_codes=tuple(code for code, _ in errors),
        named=tuple(_DIGEST.findall(body.decode(errors="replace"))),
        reason=f"status {status}" + (f" ({said})" if said else "") + (f", try again in {wait:.0f} s" if wait else ""),
        temporary=busy,
        retry_after=wait,
    )


def unexpected(response: Response, verb: str, reason: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(verb=verb, url=redacted(response.url), status=response.status, oci_codes=(), reason=reason)


def asked_wait(retry_after: str, date: str) -> float | None:
    """Retry-After as seconds (RFC 9110, 10.2.3); a time counts from the answer's own Date, not from our clock."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, seconds_of_date(retry_after) - seconds_of_date(date))
    except ValueError:
        return None
