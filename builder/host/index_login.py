"""Who we are to a package index: the credentials that the user has put into its URL, UV_INDEX_*_USERNAME or a netrc.

They are found by origin (scheme, host, port), as pip does it, since an index hands out files below other paths than its
own. Credentials live in memory only, for one request; nothing here writes or prints them.
"""

from __future__ import annotations

import base64
import netrc
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from builder.host.uv import uv_files


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password that is never shown."""

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of ``Authorization`` (RFC 7617, UTF-8)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_login(url: str, environ: Mapping[str, str]) -> Login | None:
    """The login for a URL: that in the URL itself, of an index of the same origin, or of the netrc."""
    parts = urlsplit(url)
    if own := _of_url(parts):
        return own
    for name, index in _indexes(environ):
        if _origin(urlsplit(index)) == _origin(parts) and (login := _of_url(urlsplit(index)) or _named(name, environ)):
            return login
    return _of_netrc(parts.hostname or "", environ)


def without_login(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _indexes(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name or "", URL) of each index: ``UV_INDEX`` may write ``name=url``."""
    for variable in ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        for item in re.split(r"[\s,]+", environ.get(variable, "")):
            name, equals, url = item.partition("=")
            yield (name, url) if equals and "://" not in name else ("", item)
    for settings in uv_files(environ):
        for table in settings.get("index", []):
            yield str(table.get("name", "")), str(table.get("url", ""))


def _named(name: str, environ: Mapping[str, str]) -> Login | None:
    prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    user = environ.get(f"{prefix}_USERNAME")
    return Login(user, environ.get(f"{prefix}_PASSWORD", "")) if name and user else None


def _of_url(parts: SplitResult) -> Login | None:
    return Login(unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _of_netrc(host: str, environ: Mapping[str, str]) -> Login | None:
    path = Path(environ.get("NETRC") or Path(environ.get("HOME", "/nonexistent"), ".netrc"))
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return Login(found[0], found[2] or "") if found and found[0] else None
