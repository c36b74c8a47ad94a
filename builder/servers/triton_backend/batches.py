"""Puts requests together and takes their answers apart. Pure numpy.

Requests run together only where all their tensors have equal shapes but for the first dim, which is the batch. Where
running them together fails, or gives another number of rows, each is run alone: one bad request fails by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Feeds = dict[str, Array]
Run = Callable[[Feeds, list[str]], list[Array]]


_LOUDER = 16.0
_RELATIVE = 1e-3
"""Halves keep 11 bits; a scale that is common to all rows is off by far more."""


class Refused(Exception):
    """A request cannot be answered; ``is_input``: its own tensors are the reason."""

    def __init__(self, text: str, *, is_input: bool = False) -> None:
        super().__init__(text)
        self.is_input = is_input


@dataclass(frozen=True)
class Question:
    """A request: what is fed to the graph and which outputs are wanted, both by the graph's names."""

    feeds: Feeds
    wanted: list[str]

    @property
    def form(self) -> tuple[object, ...]:
        """Equal for questions that may run together."""
        return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in self.feeds.items()))

    @property
    def rows(self) -> int:
        return len(next(iter(self.feeds.values())))


Answer = list[Array] | Refused


@dataclass(frozen=True)
class Limits:
    """``rows`` of requests in one run, and ``count`` threads that share the work, each with a run of its own:
    onnxruntime lets go of the interpreter lock while it computes."""

    rows: int
    count: int = 1
    threads: Executor | None = None


def answer(questions: Sequence[Question], run: Run, *, batched: bool, limits: Limits) -> list[Answer]:
    """An answer for each question, in their order. ``batched``: the first dim of all tensors is the batch."""
    groups = _groups(questions) if batched else [[number] for number in range(len(questions))]
    parts = [part for group in groups for part in _parts(group, questions, limits)]
    given = [[questions[number] for number in part] for part in parts]
    each = limits.threads.map if limits.threads and len(parts) > 1 else map
    found = list(each(lambda part: _part(part, run), given))
    answers = {
        number: one for part, some in zip(parts, found, strict=True) for number, one in zip(part, some, strict=True)
    }
    return [answers[number] for number in range(len(questions))]


def _part(questions: list[Question], run: Run) -> list[Answer]:
    together = _together(questions, run) if len(questions) > 1 else []
    return together or [_alone(question, run) for question in questions]


def _parts(group: list[int], questions: Sequence[Question], limits: Limits) -> Iterator[list[int]]:
    """Of at most ``limits.rows`` rows each, and so many that every thread has one; a question is never taken apart."""
    if len(group) == 1:
        yield group
        return
    most = min(limits.rows, -(-sum(questions[number].rows for number in group) // limits.count))
    part: list[int] = []
    for number in group:
        if part and sum(questions[each].rows for each in (*part, number)) > most:
            yield part
            part = []
        part.append(number)
    yield part


def stands_alone(run: Run, feeds: Feeds, wanted: list[str]) -> bool:
    """Whether two rows at once give what each gives by itself. A graph may take any first dim and still look at all
    rows together; much larger numbers show a scale that is common to all of them."""
    one = {name: array[:1] for name, array in feeds.items()}
    for other in ({name: _louder(array[-1:]) for name, array in feeds.items()}, {n: a[-1:] for n, a in feeds.items()}):
        alone = [_alone(Question(feeds=each, wanted=wanted), run) for each in (one, other)]
        if any(isinstance(each, Refused) for each in alone):
            continue
        together = _together([Question(feeds=each, wanted=wanted) for each in (one, other)], run)
        return bool(together) and all(map(_same, alone, together))
    return False


def _louder(array: Array) -> Array:
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        louder: Array = array * array.dtype.type(_LOUDER)
    return louder


def _same(alone: Answer, together: Answer) -> bool:
    if isinstance(alone, Refused) or isinstance(together, Refused):
        return False
    return all(map(_close, alone, together))


def _close(one: Array, other: Array) -> bool:
    if one.shape != other.shape or one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    one, other = one.astype(np.float64), other.astype(np.float64)
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return bool(np.allclose(other, one, rtol=_RELATIVE, atol=_RELATIVE * scale, equal_nan=True))


def _groups(questions: Sequence[Question]) -> list[list[int]]:
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault(question.form, []).append(number)
    return list(groups.values())


def _alone(question: Question, run: Run) -> Answer:
    try:
        return run(question.feeds, question.wanted)
    except Refused as refused:
        return refused


def _together(questions: list[Question], run: Run) -> list[Answer]:
    """Nothing where they have to be run one by one."""
    names = list(dict.fromkeys(name for question in questions for name in question.wanted))
    feeds = {name: np.concatenate([question.feeds[name] for question in questions]) for name in questions[0].feeds}
    ends = np.cumsum([question.rows for question in questions]).tolist()
    try:
        results = dict(zip(names, run(feeds, names), strict=True))
    except Refused:
        return []
    if any(not array.shape or len(array) != ends[-1] for array in results.values()):
        return []
    starts = [0, *ends[:-1]]
    return [
        [results[name][start:end] for name in question.wanted]
        for question, start, end in zip(questions, starts, ends, strict=True)
    ]
