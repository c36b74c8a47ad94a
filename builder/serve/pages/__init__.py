"""The pages for people: static files of this package, nothing from other hosts, under a strict content policy.

They carry nothing about the models: what they show they ask this server for, with the reader's key where it wants one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..http.answers import Response

_FOLDER = Path(__file__).parent
_HTML, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
_FILES = {
    "/": ("page.html", _HTML),
    "/docs": ("docs.html", _HTML),
    "/ui/style.css": ("style.css", "text/css; charset=utf-8"),
    "/ui/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/ui/{name}.js": (f"{name}.js", _SCRIPT)
        for name in (
            "answers",
            "binary",
            "docs",
            "fields",
            "inputs",
            "live",
            "page",
            "programs",
            "shared",
            "table",
            "tensors",
        )
    },
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


def pages() -> dict[str, Callable[[], Response]]:
    """By path, what reads the file and makes its response: most servers are never asked for one."""
    return {path: partial(_response, name, kind) for path, (name, kind) in _FILES.items()}


def _response(name: str, kind: str) -> Response:
    return Response(200, kind, ((_FOLDER / name).read_bytes(),), _HEADERS)
