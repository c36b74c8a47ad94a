"""Which files stay out of an image: a table of globs with reasons, for packages and for wheels alike.

``*`` matches within one name, ``**`` across names, ``?`` one character. A path that a ``keep`` rule matches stays,
whatever ``prune`` says. Rules speak of files and links; a directory is there when something in it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_pattern(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob over whole paths without a leading slash."""
    return re.compile("".join(_MEANING.get(token) or re.escape(token) for token in _TOKEN.findall(glob)), re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class PruneRules:
    """``prune`` and ``keep``: glob to reason."""

    prune: Mapping[str, str]
    keep: Mapping[str, str]

    @cached_property
    def _pruned(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return tuple((glob, glob_pattern(glob)) for glob in self.prune)

    @cached_property
    def _kept(self) -> tuple[re.Pattern[str], ...]:
        return tuple(glob_pattern(glob) for glob in self.keep)

    def pruned_by(self, path: PurePosixPath) -> str | None:
        """The first glob that takes ``path`` out, or None where it stays."""
        text = str(path).lstrip("/")
        if any(pattern.fullmatch(text) for pattern in self._kept):
            return None
        return next((glob for glob, pattern in self._pruned if pattern.fullmatch(text)), None)

    def to_json(self) -> dict[str, object]:
        """What of the rules decides bytes: the globs, not the reasons."""
        return {"prune": sorted(self.prune), "keep": sorted(self.keep)}
