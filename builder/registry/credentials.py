"""Who we are for a registry: the environment first, then what ``docker login`` left (credential helpers, then auths).

MBUILD_REGISTRY_USERNAME and MBUILD_REGISTRY_PASSWORD belong to the registry that MBUILD_REGISTRY names; where that is
not set, to the one that is pushed to. So a private registry's password never goes to the registry of a base image.
Format of the file: docker/cli ``cli/config/configfile``; of the helpers: docker-credential-helpers.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builder.errors import UsageError
from builder.host import Host
from builder.host.docker_config import docker_config
from builder.host.run import Command, ProgramMissing

_KEYS = {"docker.io": "https://index.docker.io/v1/"}
"""Under which key ``docker login`` keeps the default registry; every other goes by its own name."""


class UnreadableDockerConfig(UsageError):
    code = "unreadable-docker-config"
    message = "the Docker config {path} cannot be read: {reason}"
    hint = "mend or move the file (DOCKER_CONFIG names its directory), then `docker login` again"


class CredentialHelperFailed(UsageError):
    code = "credential-helper-failed"
    message = "the credential helper {program} gave nothing for {registry}: {reason}"
    hint = "run `docker login {registry}` to see it fail, or set MBUILD_REGISTRY_USERNAME and MBUILD_REGISTRY_PASSWORD"


class Secret:
    """A text that is shown as ``***`` wherever it is not asked for by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """``secret`` is a password, or an OAuth2 refresh token where ``user`` is empty; ``source`` says where it was."""

    user: str
    secret: Secret
    source: str

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret.reveal()}".encode()).decode()


class Purpose(Enum):
    """What the credentials are for; the value is the list of actions in a token's scope."""

    PULL = "pull"
    PUSH = "pull,push"
    DELETE = "pull,push,delete"


def acting_for(registry: str, host: Host) -> Host:
    """The host on which the environment's user and password are meant for this registry, unless it names one."""
    named = {"MBUILD_REGISTRY": host.environ.get("MBUILD_REGISTRY") or registry}
    return replace(host, environ={**host.environ, **named})


def find_credentials(registry: str, purpose: Purpose, host: Host) -> Credentials | None:
    """None: there are none, go anonymously. Raises UnreadableDockerConfig, CredentialHelperFailed."""
    return _from_environment(registry, purpose, host.environ) or _from_docker(registry, host)


def _from_environment(registry: str, purpose: Purpose, environ: Mapping[str, str]) -> Credentials | None:
    user, password = environ.get("MBUILD_REGISTRY_USERNAME"), environ.get("MBUILD_REGISTRY_PASSWORD")
    named = environ.get("MBUILD_REGISTRY")
    meant = named == registry if named else purpose is not Purpose.PULL
    if not user or not password or not meant:
        return None
    return Credentials(user=user, secret=Secret(password), source="MBUILD_REGISTRY_PASSWORD")


def _from_docker(registry: str, host: Host) -> Credentials | None:
    path = docker_config(host.environ)
    config = _read_config(path)
    helpers = config.get("credHelpers") or {}
    name = helpers.get(_KEYS.get(registry, registry)) or helpers.get(registry) or config.get("credsStore")
    if name and (found := _from_helper(f"docker-credential-{name}", registry, host)):
        return found
    for key, entry in (config.get("auths") or {}).items():
        if _same_registry(key, registry) and (credentials := _from_entry(entry, path)):
            return credentials
    return None


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnreadableDockerConfig(path=path, reason=error) from error
    if not isinstance(config, dict) or not isinstance(config.get("auths") or {}, dict):
        raise UnreadableDockerConfig(path=path, reason="it is not the JSON object that Docker writes")
    return config


def _same_registry(key: str, registry: str) -> bool:
    if key == _KEYS.get(registry):
        return True
    return (urlsplit(key).netloc if "://" in key else key.split("/")[0]) == registry


def _from_entry(entry: dict[str, Any], path: Path) -> Credentials | None:
    """One value of ``auths``: base64 of user:password, an identity token, or nothing (the store has it)."""
    if token := entry.get("identitytoken"):
        return Credentials(user="", secret=Secret(str(token)), source=str(path))
    if entry.get("username") and entry.get("password"):  # as Kubernetes' pull secrets may have it
        return Credentials(user=str(entry["username"]), secret=Secret(str(entry["password"])), source=str(path))
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise UnreadableDockerConfig(path=path, reason="an auth in it is not base64 of user:password") from error
    return Credentials(user=user, secret=Secret(password.rstrip("\0")), source=str(path)) if colon else None


def _from_helper(program: str, registry: str, host: Host) -> Credentials | None:
    server = _KEYS.get(registry, registry)
    try:
        done = host.run.run(Command(argv=(program, "get"), stdin=server.encode(), timeout=60))
    except ProgramMissing as error:
        reason = "the program is not installed"
        raise CredentialHelperFailed(program=program, registry=registry, reason=reason) from error
    if not done.ok:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if "credentials not found" in said:
            return None
        raise CredentialHelperFailed(program=program, registry=registry, reason=said or f"status {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), Secret(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise CredentialHelperFailed(program=program, registry=registry, reason="not the JSON of a helper") from error
    return Credentials(user="" if user == "<token>" else user, secret=secret, source=program)
