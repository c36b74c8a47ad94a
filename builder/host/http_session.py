"""The connections behind the door for HTTP (``http.py``): whose proxies and certificates they use. requests, which it
needs, loads slowly, so that only the first request of a run imports this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters

from builder import __version__
from builder.host.proxy import proxy_for
from builder.host.tls import Trust

BLOCK = 1 << 20
"""Bytes of a body that are sent at once."""


class Session(requests.Session):
    """Believes no environment but the one that it is given: no netrc, and proxies as ``proxy_for`` finds them, also
    after a redirect."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self.trust_env = False
        self._environ = environ
        self.mount("https://", _Adapter(Trust(environ, requests.adapters.DEFAULT_CA_BUNDLE_PATH)))
        self.headers["User-Agent"] = f"mbuild/{__version__}"
        self.headers["Accept-Encoding"] = "identity"

    def proxies_for(self, url: str) -> dict[str, str]:
        return {urlsplit(url).scheme: proxy_for(url, self._environ)}

    def rebuild_proxies(self, prepared_request: requests.PreparedRequest, proxies: Any) -> Any:
        """What requests asks for after a redirect. The proxy's own credentials are urllib3's to send."""
        return self.proxies_for(prepared_request.url or "")


class _Adapter(requests.adapters.HTTPAdapter):
    """Takes the TLS context of each server from ``Trust`` and sends bodies in large blocks."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        super().__init__()

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        found: Any = super().build_connection_pool_key_attributes(request, verify, cert)
        host, pool = found
        pool["blocksize"] = BLOCK
        if host["scheme"] == "https":
            pool["ssl_context"] = self._trust.context(str(host["host"]), host.get("port"))
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """The context holds the certificates already; verification is never off."""
        conn.cert_reqs = "CERT_REQUIRED"
