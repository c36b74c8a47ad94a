"""Golden cases on their way to a worker and back: what is asked, what was answered, and by whom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.canonical import canonical_json
from builder.convert.sandbox import Guard
from builder.convert.worker import WorkerAnswer
from builder.model.golden import GoldenCase, read_case, write_case
from builder.oci.digest import Digest

REVISION = 1
"""Bumped by hand when answers are kept in another form."""

_ABOUT = "about.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """``cases`` have the outputs that were computed; ``unanswered`` says by name why an optional case has none;
    ``versions`` are those of the packages that computed, ``guard`` what kept them from the machine."""

    cases: tuple[GoldenCase, ...]
    unanswered: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    guard: str = str(Guard.NONE)


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Cases that must be answered, then ``optional`` ones that need not; what they have as outputs is not looked at.
    ``interface`` is tensors, or plain: what people have, before the steps around the graph."""

    cases: tuple[GoldenCase, ...]
    optional: tuple[GoldenCase, ...] = ()
    interface: str = "tensors"

    @property
    def all(self) -> tuple[GoldenCase, ...]:
        return (*self.cases, *self.optional)

    @property
    def key(self) -> dict[str, object]:
        """What a key of the answers says of them."""
        decides: dict[str, object] = {"cases": [str(Digest.of(_inputs(case))) for case in self.cases]}
        if self.optional:
            decides["optional"] = [str(Digest.of(_inputs(case))) for case in self.optional]
        return {**decides, "interface": self.interface, "answers": REVISION}

    def lay_out(self, scratch: Path, output: Path) -> list[dict[str, object]]:
        """Write them into ``scratch``; the ``cases`` of a request, whose answers go into ``output``."""
        entries: list[dict[str, object]] = []
        for number, case in enumerate(self.all):
            (scratch / f"{number}.npz").write_bytes(_inputs(case))
            places = {"inputs": str(scratch / f"{number}.npz"), "outputs": str(output / f"{number}.npz")}
            entries.append(places | ({"optional": True} if number >= len(self.cases) else {}))
        return entries

    def read(self, directory: Path) -> Answers:
        """What ``keep`` and the worker wrote."""
        about = json.loads((directory / _ABOUT).read_bytes())
        reasons = {int(number): reason for number, reason in about["unanswered"].items()}
        return Answers(
            cases=tuple(
                replace(case, outputs=read_case(directory / f"{number}.npz").outputs)
                for number, case in enumerate(self.all)
                if number not in reasons
            ),
            unanswered={self.all[number].name: reason for number, reason in sorted(reasons.items())},
            versions=about["versions"],
            guard=about["guard"],
        )


NOTHING = Questions(cases=())


def keep(answer: WorkerAnswer, directory: Path) -> None:
    """Write down beside the answers what else the worker said."""
    about = {
        "unanswered": answer.value.get("unanswered", {}),
        "versions": dict(answer.versions),
        "guard": str(answer.guard),
    }
    (directory / _ABOUT).write_bytes(canonical_json(about))


def _inputs(case: GoldenCase) -> bytes:
    return write_case(replace(case, outputs={}))
