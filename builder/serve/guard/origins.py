"""Which pages in browsers may read the answers: CORS, as the Fetch standard has it. Off unless origins are named.

Keys travel in headers, never in cookies, so credentials mode is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..environment import SettingError
from ..http.answers import Response

VARIABLE = "MBUILD_CORS_ORIGINS"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_ALLOWED = (
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    (
        "Access-Control-Allow-Headers",
        "Authorization, Content-Encoding, Content-Type, Inference-Header-Content-Length, Traceparent, Tracestate, "
        "X-API-Key, X-Request-Id",
    ),
    ("Access-Control-Max-Age", "600"),
)
_EXPOSED = ("Access-Control-Expose-Headers", "Inference-Header-Content-Length, Retry-After, WWW-Authenticate")
_VARY = ("Vary", "Origin")

Headers = tuple[tuple[str, str], ...]


class Origins:
    """The origins that may read; ``*`` is every one. Raises SettingError."""

    def __init__(self, text: str) -> None:
        named = [each.strip() for each in text.split(",") if each.strip()]
        for each in named:
            if each != "*" and not _ORIGIN.fullmatch(each):
                raise SettingError(
                    f"{VARIABLE}: {each!r} is not an origin such as https://app.example.com, in lower case and "
                    "without a path; origins are separated by commas, * is every one."
                )
        self._every = "*" in named
        self._named = frozenset(named)

    def preflight(self, method: str, headers: Mapping[str, str]) -> Response | None:
        """The answer to a browser that asks before it sends; None for anything else."""
        if method != "OPTIONS" or "origin" not in headers or "access-control-request-method" not in headers:
            return None
        allowed = self._allow(headers)
        return Response(headers=(*self._vary(), *allowed, *(_ALLOWED if allowed else ())))

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """What to add to the answer to a request with these headers."""
        allowed = self._allow(headers)
        return (*self._vary(), *allowed, *((_EXPOSED,) if allowed else ()))

    def _vary(self) -> Headers:
        return () if self._every else (_VARY,)

    def _allow(self, headers: Mapping[str, str]) -> Headers:
        origin = headers.get("origin", "")
        if not origin or not (self._every or origin in self._named):
            return ()
        return (("Access-Control-Allow-Origin", "*" if self._every else origin),)
