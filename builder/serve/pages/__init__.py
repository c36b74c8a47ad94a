"""The pages for people: static files of this package, nothing from other hosts, under a strict content policy."""

from __future__ import annotations

from pathlib import Path

from ..http.answers import Response

_FOLDER = Path(__file__).parent
_FILES = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs.svg": ("docs.svg", "image/svg+xml"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)


def pages() -> dict[str, Response]:
    """Responses by path; the root leads to /docs."""
    found = {
        path: Response(200, kind, ((_FOLDER / name).read_bytes(),), _HEADERS) for path, (name, kind) in _FILES.items()
    }
    return {"/": Response(307, body=(), headers=(("Location", "docs"),)), **found}
