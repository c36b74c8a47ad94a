"""The bars of the house against what was measured: each a line with its figure, and whether it was met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.bench.serving.overload import DEADLINE, FACTOR
from tests.bench.serving.results import Load, Results, Rounds, Spread, cpu, p99, rate, ratio, spread
from tests.bench.serving.visit import CONCURRENCY

OURS, NOTHING = "http", "constant"
TITLES = {"mlp": "tiny MLP", "cnn": "small CNN", "minilm": "MiniLM"}
_RATES = {"mlp": 4.0}
"""At 1 connection a server that does nothing may reach less, which the note says: there the time is the client's and
that of waking one process and then the other. The processor time of a request does not depend on those."""
_MEMORY = 65.0
_CONTAINER = 2.5
_OF_THE_LIMIT = {"cnn": 0.8, "minilm": 0.99}
"""0.95 of what native Triton with its onnxruntime backend reached of it (two instances, dynamic batching) on two such
cores (376 of 449 a second, 145 of 139): the binary releases of Triton that anyone may fetch have no such backend."""
_ANSWERED_LATE = 0.5
"""Seconds that a request which was taken in time may need to run, above the queue's deadline."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """``figure`` must be at least ``bar``, or at most with ``most``; ``note`` stands beside whether it was."""

    what: str
    figure: Spread
    bar: float
    most: bool = False
    unit: str = "x"
    note: str = ""

    @property
    def met(self) -> bool:
        return self.figure.median <= self.bar if self.most else self.figure.median >= self.bar

    def cells(self) -> tuple[str, str, str, str]:
        digits = 0 if self.unit == "" else 2
        figure = f"{self.figure.median:.{digits}f}{self._unit}"
        if self.figure.low != self.figure.high:
            figure += f" ({self.figure.low:.{digits}f} to {self.figure.high:.{digits}f})"
        bar = f"{'at most' if self.most else 'at least'} {self.bar:g}{self._unit}"
        return self.what, figure, bar, ("met" if self.met else "**missed**") + self.note

    @property
    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""


def bars(results: Results, peers: Sequence[str]) -> Iterator[Bar]:
    """Those for which there are figures."""
    for model in results.models():
        there = [peer for peer in peers if results.visits(model, peer)]
        if there and results.visits(model, OURS):
            yield from _rates(results, model, there)
            yield from _latencies(results, model, there)
            yield from _start(results, model, there)
        yield from _limit(results, model)
    if memory := results.of_visit("mlp", OURS, "memory"):
        figure = spread(value / 1e6 for value in memory.values())
        yield Bar(what="tiny MLP: memory after the load (PSS)", figure=figure, bar=_MEMORY, most=True, unit="MB")
    yield from _container(results)
    yield from _overloads(results)
    if errors := [results.errors(model, OURS) for model in results.models() if results.visits(model, OURS)]:
        yield Bar(what="errors of our server under all loads", figure=spread([sum(errors)]), bar=0, most=True, unit="")


def _rates(results: Results, model: str, peers: Sequence[str]) -> Iterator[Bar]:
    for connections in CONCURRENCY:
        best, theirs = best_peer(results, model, peers, connections, rate, max)
        ours, most = (results.loads(model, server, "json", connections, rate) for server in (OURS, NOTHING))
        what, bar = (
            f"{TITLES[model]}: requests/s at {connections} against the best peer ({best})",
            _RATES.get(model, 1.0),
        )
        yield Bar(what=what, figure=ratio(ours, theirs), bar=bar, note=_beside_nothing(ours, theirs, most))
    yield from _turns(results, model)
    if model == "mlp":
        best, theirs = best_peer(results, model, peers, 1, cpu, min)
        figure = ratio(theirs, results.loads(model, OURS, "json", 1, cpu))
        what = f"{TITLES[model]}: CPU of a request at 1, that of the best peer ({best}) against ours"
        yield Bar(what=what, figure=figure, bar=_RATES[model])


def _turns(results: Results, model: str) -> Iterator[Bar]:
    """The same over one connection, both running, a second each in turns."""
    for peer, rates in results.turns(model).items():
        figure = ratio(*(dict(enumerate(rates[name])) for name in (OURS, peer)))
        what = f"{TITLES[model]}: requests/s at 1 against {peer}, {len(rates[OURS])} times in turns"
        yield Bar(what=what, figure=figure, bar=_RATES.get(model, 1.0))


def _beside_nothing(ours: Rounds, theirs: Rounds, most: Rounds) -> str:
    """How far a server can get at all, and what share of that ours has."""
    if not (ours.keys() & theirs.keys() & most.keys()):
        return ""
    limit, share = ratio(most, theirs).median, ratio(ours, most).median
    return f"; a server that does nothing: {limit:.2f} x, ours {share:.2f} of it"


def _latencies(results: Results, model: str, peers: Sequence[str]) -> Iterator[Bar]:
    for connections in CONCURRENCY[1:]:
        best, theirs = best_peer(results, model, peers, connections, p99, min)
        figure = ratio(results.loads(model, OURS, "json", connections, p99), theirs)
        what = f"{TITLES[model]}: p99 at {connections} against the best peer ({best})"
        yield Bar(what=what, figure=figure, bar=1.0, most=True)


def _limit(results: Results, model: str) -> Iterator[Bar]:
    """How much of what ``session.run`` alone does on two threads is left with a server around it (binary form)."""
    loops = {number: entry["runs"] / entry["seconds"] for number, entry in results.loops(model, 2).items()}
    served = results.loads(model, OURS, "binary", 8, rate)
    if model in _OF_THE_LIMIT and loops.keys() & served.keys():
        what = f"{TITLES[model]}, binary: requests/s at 8 against `session.run` alone on 2 threads"
        yield Bar(what=what, figure=ratio(served, loops), bar=_OF_THE_LIMIT[model])


def _start(results: Results, model: str, peers: Sequence[str]) -> Iterator[Bar]:
    wanted = {"mlp": 2.0, "minilm": 1.6}
    if model in wanted:
        starts = {peer: results.of_visit(model, peer, "start") for peer in peers}
        best = min(starts, key=lambda peer: spread(starts[peer].values()).median)
        figure = ratio(starts[best], results.of_visit(model, OURS, "start"))
        yield Bar(
            what=f"{TITLES[model]}: start of the best peer ({best}) against ours", figure=figure, bar=wanted[model]
        )


def best_peer(
    results: Results,
    model: str,
    peers: Sequence[str],
    connections: int,
    figure: Callable[[Load], float],
    best: Callable[..., str],
) -> tuple[str, Rounds]:
    """By that figure, the largest or the smallest: its name, and the figure by round."""
    by_peer = {peer: results.loads(model, peer, "json", connections, figure) for peer in peers}
    name = best(by_peer, key=lambda peer: spread(by_peer[peer].values()).median)
    return name, by_peer[name]


def _container(results: Results) -> Iterator[Bar]:
    seconds = {kind: results.containers(kind, "seconds") for kind in ("answer", "nothing")}
    if seconds["answer"] and seconds["nothing"]:
        what = "tiny MLP: `docker run` to the first right answer against one that starts Python and ends"
        yield Bar(what=what, figure=ratio(seconds["answer"], seconds["nothing"]), bar=_CONTAINER, most=True)


def _overloads(results: Results) -> Iterator[Bar]:
    for key, entry in results.entries.items():
        if key[0] == "overload" and "problem" not in entry:
            what = f"{TITLES[str(key[1])]}: {FACTOR} times the load it can take"
            yield Bar(what=f"{what}: errors", figure=spread([entry["errors"]]), bar=0, most=True, unit="")
            late, refused = spread([entry["p99"]]), entry["refused"] / (entry["refused"] + entry["accepted"])
            what += f": p99 of the {1 - refused:.0%} that it took, the queue's deadline being {DEADLINE:g} s"
            yield Bar(what=what, figure=late, bar=DEADLINE + _ANSWERED_LATE, most=True, unit="s")
