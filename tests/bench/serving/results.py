"""The ledger's lines as figures: values by round, medians with their spread, ratios of one round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.serving.ledger import Key

Rounds = Mapping[int, float]
"""A figure in each round that has it."""
Load = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of the rounds."""

    median: float
    low: float
    high: float

    @property
    def share(self) -> float:
        """Half of the range, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


def spread(values: Iterable[float]) -> Spread:
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found))


def ratio(over: Rounds, under: Rounds) -> Spread:
    """Of the rounds that have both, each divided by its own round's: what the machine did meanwhile cancels out."""
    return spread(over[number] / under[number] for number in over if under.get(number))


def rate(load: Load) -> float:
    """Requests a second."""
    return float(load["requests"] / load["seconds"])


def p50(load: Load) -> float:
    return float(load["p50"])


def p99(load: Load) -> float:
    return float(load["p99"])


def cpu(load: Load) -> float:
    """Seconds of the server's processes for one request."""
    return float(load["cpu"] / max(1, load["requests"]))


@dataclass(frozen=True, slots=True)
class Results:
    """All entries by their whole key."""

    entries: Mapping[Key, Mapping[str, Any]]

    def visits(self, model: str, server: str) -> dict[int, Mapping[str, Any]]:
        """By round, those without a problem."""
        return {
            int(key[1]): entry
            for key, entry in self.entries.items()
            if key[0] == "visit" and key[2:] == (model, server) and "problem" not in entry
        }

    def loads(
        self, model: str, server: str, form: str, connections: int, figure: Callable[[Load], float]
    ) -> dict[int, float]:
        return {
            number: figure(load)
            for number, visit in self.visits(model, server).items()
            for load in visit["loads"]
            if load["form"] == form and load["connections"] == connections
        }

    def of_visit(self, model: str, server: str, name: str) -> dict[int, float]:
        """``start`` in seconds or ``memory`` in bytes."""
        return {number: visit[name] for number, visit in self.visits(model, server).items()}

    def errors(self, model: str, server: str) -> int:
        return sum(load["errors"] for visit in self.visits(model, server).values() for load in visit["loads"])

    def loops(self, model: str, threads: int) -> dict[int, Mapping[str, Any]]:
        """``session.run`` alone, by round."""
        return {
            int(key[1]): entry
            for key, entry in self.entries.items()
            if key[0] == "loop" and key[2:] == (model, threads) and "problem" not in entry
        }

    def turns(self, model: str) -> dict[str, Mapping[str, list[float]]]:
        """Rates of ours and of a peer, turn by turn, by the peer's name."""
        return {
            str(key[2]): entry["rates"]
            for key, entry in self.entries.items()
            if key[0] == "turns" and key[1] == model and "problem" not in entry
        }

    def containers(self, kind: str, name: str) -> dict[int, Any]:
        """Of the runs of a container, by round: ``kind`` is answer or nothing."""
        return {
            int(key[1]): entry[name]
            for key, entry in self.entries.items()
            if key[0] == "container" and key[2] == kind and "problem" not in entry
        }

    def models(self) -> list[str]:
        return list(dict.fromkeys(str(key[2]) for key in self.entries if key[0] == "visit"))

    def problems(self) -> list[str]:
        return [
            f"{' '.join(map(str, key))}: {entry['problem']}"
            for key, entry in self.entries.items()
            if "problem" in entry
        ]

    def rounds(self) -> int:
        return len({key[1] for key in self.entries if key[0] == "visit"})

    def elsewhere(self) -> Spread:
        """Cores that other programs of the machine used while a load ran."""
        visits = (entry for key, entry in self.entries.items() if key[0] == "visit" and "loads" in entry)
        return spread(load["elsewhere"] for visit in visits for load in visit["loads"])
