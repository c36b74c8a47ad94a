"""The stanza format of Debian's control files (deb822(5)): Release, Packages, control and ``.sources`` files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Stanza = Mapping[str, str]
"""Field names in lower case (they are case-insensitive); continuation lines joined by newlines, stripped."""


def parse_stanza(text: str) -> dict[str, str]:
    """The fields of one stanza. Lines that start with ``#`` are comments; a line without a field is ignored."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            if name:
                fields[name] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            fields[name] = value.strip()
    return fields


def split_stanzas(text: str) -> Iterator[str]:
    """The texts of the stanzas, which empty lines separate."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def parse_stanzas(text: str) -> Iterator[dict[str, str]]:
    """All stanzas that have at least one field."""
    for stanza in split_stanzas(text):
        if fields := parse_stanza(stanza):
            yield fields
