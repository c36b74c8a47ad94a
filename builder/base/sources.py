"""Reads the machine's own apt sources, so that a base comes from the mirror that this machine already uses.

Both formats of sources.list(5): one-line ``.list`` files and deb822 ``.sources`` files. Only roots of Debian's own
archives are of interest: a URI with the component ``main`` whose last path segment is the archive's name (``debian``,
``debian-security``). The suite does not matter: a mirror that serves one release serves the others too, and what it
serves is verified by signature and digest anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from builder.base.deb822 import parse_stanzas

_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s*)?(\S+\s+\S+\s+\S.*)")
APT_DIRECTORY = Path("/etc/apt")


def parse_sources(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """(URI, components) of each enabled binary source in a deb822 ``.sources`` file."""
    for stanza in parse_stanzas(text):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in ("no", "false"):
            continue
        for uri in stanza.get("uris", "").split():
            yield uri, frozenset(stanza.get("components", "").split())


def parse_list(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """(URI, components) of each ``deb [options] uri suite component...`` line."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            uri, _, *components = match[1].split()
            yield uri, frozenset(components)


def machine_mirrors(archive: str, directory: Path = APT_DIRECTORY) -> tuple[str, ...]:
    """The roots of ``archive`` among the machine's apt sources, in order, each once; none on other systems."""
    found: dict[str, None] = {}
    for uri, components in _all_sources(directory):
        if "main" in components:
            for each in _expanded(uri):
                if urlsplit(each).path.rstrip("/").rpartition("/")[2] == archive:
                    found[each.rstrip("/")] = None
    return tuple(found)


def _all_sources(directory: Path) -> Iterator[tuple[str, frozenset[str]]]:
    parts = directory / "sources.list.d"
    files = [directory / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else ())]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            yield from parse_sources(text)
        elif path.suffix == ".list":
            yield from parse_list(text)


def _expanded(uri: str) -> tuple[str, ...]:
    """An HTTP URI itself; for ``mirror+file:`` the HTTP URIs that the named file lists (apt-transport-mirror(1))."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return (uri,)
    if parts.scheme == "mirror+file":
        try:
            lines = Path(parts.path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ()
        words = (line.split() for line in lines)
        return tuple(line[0] for line in words if line and line[0].startswith(("http://", "https://")))
    return ()
