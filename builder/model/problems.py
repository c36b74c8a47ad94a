"""Problems of files that a user wrote: where (a dotted path, or a file and a tensor) and what. They are collected and
raised together, so that one run shows all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """``where`` is for example ``server.max_body_bytes`` or ``golden/a.npz: input 'x'``."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


def listing(problems: Iterable[Problem]) -> str:
    """The problems as the lines of an error message."""
    return "\n".join(f"  {problem}" for problem in problems)


def suggestion(word: str, choices: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where a choice is close to ``word``, else what the choices are, else nothing."""
    names = sorted(choices)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (there is {', '.join(names)})" if names else ""
