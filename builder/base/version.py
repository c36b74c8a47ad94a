"""Debian package versions and their order (Debian policy 5.6.12, deb-version(7)).

A version is ``[epoch:]upstream[-revision]``. Parts are compared as runs of non-digits and digits in turn; ``~`` sorts
before everything, even the end of a part, and letters sort before other characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering

from builder.errors import ResolutionError

_WHOLE = re.compile(
    r"(?:(?P<epoch>\d+):(?=.)|(?!.*:))(?P<upstream>[A-Za-z0-9.+~:-]+?)(?:-(?P<revision>[A-Za-z0-9.+~]+))?"
)
"""A colon in the upstream part is only allowed behind an epoch."""
_RUN = re.compile(r"(\D*)(\d*)")


class MalformedVersion(ResolutionError):
    code = "malformed-debian-version"
    message = "{text!r} is not a Debian package version"
    hint = "a version is written [epoch:]upstream[-revision], see Debian policy 5.6.12"


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part_key(part: str) -> tuple[object, ...]:
    """Non-digit runs as weights closed by 0 (the weight of the end), digit runs as numbers (none is 0)."""
    key: list[object] = []
    position = 0
    while position < len(part) or not key:
        run = _RUN.match(part, position)
        assert run is not None
        key += [(*map(_weight, run[1]), 0), int(run[2] or 0)]
        position = run.end()
    return (*key, (0,))


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class DebianVersion:
    """A version that compares as dpkg compares it (``1.0`` equals ``1.0-0``). Raises MalformedVersion."""

    text: str
    _key: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = _WHOLE.fullmatch(self.text)
        if not parts:
            raise MalformedVersion(text=self.text)
        key = (int(parts["epoch"] or 0), _part_key(parts["upstream"]), _part_key(parts["revision"] or ""))
        object.__setattr__(self, "_key", key)

    @property
    def upstream(self) -> str:
        """The version without epoch and revision."""
        parts = _WHOLE.fullmatch(self.text)
        assert parts is not None
        return parts["upstream"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and self._key == other._key

    def __lt__(self, other: DebianVersion) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return self.text
