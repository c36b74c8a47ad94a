"""Ours and one peer in turns, both running, over one connection: where a run of the model is nearly all of a request,
the two differ by less than the machine itself does between two visits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.serving import wrk
from tests.bench.serving.models import Model
from tests.bench.serving.servers import Bench, Server
from tests.bench.serving.visit import Started, started

TURNS = 10
_SECONDS = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    running: Started
    server: Server

    def rate(self, model: Model) -> float:
        request = self.server.forms["json"].request(model)
        return wrk.load(self.running.port, request, connections=1, seconds=_SECONDS).rate


def turns(ours: Server, theirs: Server, model: Model, bench: Bench, logs: Path) -> dict[str, list[float]]:
    """Requests a second of each, turn by turn. Raises Failed."""
    launches = [server.prepare(model, bench)() for server in (ours, theirs)]
    forms = [server.forms["json"] for server in (ours, theirs)]
    with (
        started(launches[0], model, forms[0], logs / f"turns-ours-{model.name}.log") as first,
        started(launches[1], model, forms[1], logs / f"turns-theirs-{model.name}.log") as second,
    ):
        both = [_Turn(running=first, server=ours), _Turn(running=second, server=theirs)]
        rates: dict[str, list[float]] = {ours.name: [], theirs.name: []}
        for turn in both:  # warm
            turn.rate(model)
        for number in range(TURNS):
            for turn in both if number % 2 else reversed(both):
                rates[turn.server.name].append(turn.rate(model))
    return rates
