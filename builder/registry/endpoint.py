"""Where the API of a registry is: https; plain http only on this machine when https is not what answers there, and to
registries that the user named for it (MBUILD_PLAIN_HTTP)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.host.http import Http, Request, TlsExpected
from builder.host.proxy import is_loopback

_API_HOSTS = {"docker.io": "registry-1.docker.io"}
"""The one registry whose name in references is not the host of its API (the default of the reference grammar)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """``registry`` as references name it; ``origin`` is ``scheme://host[:port]``."""

    registry: str
    origin: str


def plain_registries(environ: Mapping[str, str]) -> frozenset[str]:
    """The registries that are spoken to in the clear: MBUILD_PLAIN_HTTP, ``host[:port]`` with commas between."""
    return frozenset(name.strip() for name in environ.get("MBUILD_PLAIN_HTTP", "").split(",") if name.strip())


def find_endpoint(registry: str, http: Http, plain: frozenset[str] = frozenset()) -> Endpoint:
    """Ask ``/v2/`` (distribution-spec end-1). Any status will do, 401 is the usual one; raises NetworkError."""
    host = _API_HOSTS.get(registry, registry)
    if registry in plain:
        return _ping(registry, f"http://{host}", http)
    try:
        return _ping(registry, f"https://{host}", http)
    except TlsExpected:
        if not is_loopback(_without_port(host)):
            raise
        return _ping(registry, f"http://{host}", http)


def _ping(registry: str, origin: str, http: Http) -> Endpoint:
    with http.send(Request(verb="GET", url=f"{origin}/v2/", timeout=30.0)):
        return Endpoint(registry=registry, origin=origin)


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
